import { hostname } from "node:os";
import type { CallRecord } from "../calls/record.ts";
import type { Clock, TimerHandle } from "../support/clock.ts";
import { causeOf, printed, retryAfterMs, type Send, sendByFetch } from "../support/http-send.ts";
import type { Logger } from "../support/log.ts";
import { PeerLog } from "../support/peer-log.ts";
import { isSampled } from "../support/trace-ids.ts";
import { version } from "../support/version.ts";
import { headersIn } from "./headers-file.ts";
import type { TelemetrySettings } from "./settings.ts";
import { attributes, type Span, spansOf, traceOf } from "./spans.ts";

export interface SpanExporterOptions {
  readonly settings: TelemetrySettings & { readonly otlp: string };
  /** The node's name; "": the relay is alone. */
  readonly node: string;
  readonly clock: Clock;
  readonly log: Logger;
  readonly send?: Send;
  /** From 0 up to 1, for the jitter of pauses. */
  readonly random?: () => number;
}

const BATCH_SPANS = 512;
/** So often a batch is sent in all before it is given up. */
const TRIES = 5;
const RETRY_LEAST_MS = 1_000;
const RETRY_MOST_MS = 30_000;
/** OTLP 1.x, "Retryable Response Codes". All others say that it will never be taken. */
const RETRYABLE = new Set([429, 502, 503, 504]);
const CLOSE_WITHIN_MS = 2_000;

/**
 * Sends the spans of requests that have ended to an OTLP/HTTP receiver, in JSON, many at once. What does not fit into
 * the queue, or is not taken after some tries, is dropped and counted: traces never hold up anything.
 *
 * The records have all that a span says, so OpenTelemetry's SDK would add its eight packages and nothing else.
 */
export class SpanExporter {
  sent = 0;
  dropped = 0;
  private readonly options: SpanExporterOptions;
  private readonly url: string;
  private readonly headers: Readonly<Record<string, string>>;
  private readonly peerLog: PeerLog;
  private queue: Span[] = [];
  private timer: TimerHandle;
  private sending: Promise<void> | undefined;
  private wake: (() => void) | undefined;
  private broken: AbortController | undefined;
  private closed = false;

  /** Throws if the file with header fields cannot be used. */
  constructor(options: SpanExporterOptions) {
    this.options = options;
    this.peerLog = new PeerLog(options);
    const { otlp, headersFile } = options.settings;
    this.url = new URL(otlp).pathname === "/" ? new URL("/v1/traces", otlp).href : otlp;
    this.headers = {
      ...(headersFile !== undefined && headersIn(headersFile)),
      "content-type": "application/json",
      "user-agent": `Tollgate/${version()}`,
    };
  }

  get waiting(): number {
    return this.queue.length;
  }

  /** Takes the record of a request that has ended. */
  take(record: CallRecord): void {
    const { settings, clock } = this.options;
    if (this.closed || !isSampled(traceOf(record), settings.sample)) return;
    const spans = spansOf(record);
    if (this.queue.length + spans.length > settings.queueMost) {
      this.drop(spans.length, "too many wait");
      return;
    }
    this.queue.push(...spans);
    if (this.sending) return;
    if (this.queue.length >= BATCH_SPANS) this.begin();
    else this.timer ??= clock.setTimeout(() => this.begin(), settings.everyS * 1000);
  }

  private begin(): void {
    this.options.clock.clearTimeout(this.timer);
    this.timer = undefined;
    this.sending ??= this.run().finally(() => {
      this.sending = undefined;
    });
  }

  private async run(): Promise<void> {
    while (this.queue.length > 0) {
      const batch = this.queue.splice(0, BATCH_SPANS);
      await this.bring(batch);
    }
  }

  private async bring(batch: readonly Span[]): Promise<void> {
    const { random = Math.random } = this.options;
    const body = this.bodyOf(batch);
    for (let tries = 1; ; tries++) {
      const { taken, why, again, afterMs } = await this.attempt(body);
      if (taken !== undefined) {
        this.sent += Math.max(0, batch.length - taken.rejected);
        if (taken.rejected > 0) this.drop(Math.min(batch.length, taken.rejected), taken.why);
        return;
      }
      if (!again || tries >= TRIES || this.closed) return this.drop(batch.length, why);
      const grown = RETRY_LEAST_MS * 2 ** (tries - 1);
      await this.sleep(Math.min(RETRY_MOST_MS, Math.max(afterMs, grown / 2 + (random() * grown) / 2)));
    }
  }

  private async attempt(body: string): Promise<{
    taken?: { rejected: number; why: string };
    why: string;
    again: boolean;
    afterMs: number;
  }> {
    const { send = sendByFetch, clock, settings } = this.options;
    const broken = new AbortController();
    this.broken = broken;
    const timer = clock.setTimeout(() => broken.abort(), settings.timeoutS * 1000);
    try {
      const answer = await send({ url: this.url, headers: this.headers, body }, broken.signal);
      const why = `status ${answer.status} ${printed(answer.text)}`.trim();
      if (answer.status >= 200 && answer.status <= 299)
        return { taken: rejectedIn(answer.text), why, again: false, afterMs: 0 };
      return { why, again: RETRYABLE.has(answer.status), afterMs: retryAfterMs(answer, clock.wall()) ?? 0 };
    } catch (error) {
      const why = broken.signal.aborted ? `no answer within ${settings.timeoutS} s` : causeOf(error);
      return { why, again: true, afterMs: 0 };
    } finally {
      clock.clearTimeout(timer);
      this.broken = undefined;
    }
  }

  private drop(spans: number, why: string): void {
    this.dropped += spans;
    this.peerLog.warn("telemetry: spans were dropped", "", { spans, why, dropped: this.dropped });
  }

  private bodyOf(spans: readonly Span[]): string {
    const { node, settings } = this.options;
    const resource = {
      attributes: attributes({
        "service.name": settings.serviceName,
        "service.version": version(),
        "service.instance.id": node === "" ? hostname() : node,
        "host.name": hostname(),
      }),
    };
    const scope = { name: "tollgate", version: version() };
    return JSON.stringify({ resourceSpans: [{ resource, scopeSpans: [{ scope, spans }] }] });
  }

  private async sleep(ms: number): Promise<void> {
    const { clock } = this.options;
    if (this.closed) return;
    await new Promise<void>((resolve) => {
      const timer = clock.setTimeout(resolve, ms);
      this.wake = () => {
        clock.clearTimeout(timer);
        resolve();
      };
    });
    this.wake = undefined;
  }

  /** Sends what waits, once more and for two seconds at most. */
  async close(): Promise<void> {
    if (this.closed) return;
    const { clock } = this.options;
    this.closed = true;
    this.wake?.();
    const timer = clock.setTimeout(() => {
      this.drop(this.queue.splice(0).length, "the relay stops");
      this.broken?.abort();
    }, CLOSE_WITHIN_MS);
    this.begin();
    await this.sending;
    clock.clearTimeout(timer);
    this.peerLog.close();
  }
}

/** `ExportTracePartialSuccess`: how many spans of a batch were not taken. */
function rejectedIn(text: string): { rejected: number; why: string } {
  try {
    const { partialSuccess = {} } = JSON.parse(text) as {
      partialSuccess?: { rejectedSpans?: string | number; errorMessage?: string };
    };
    const rejected = Number(partialSuccess.rejectedSpans ?? 0);
    return { rejected: rejected > 0 ? rejected : 0, why: printed(String(partialSuccess.errorMessage ?? "")) };
  } catch {
    return { rejected: 0, why: "" }; // an empty body, or protobuf
  }
}
