import { Agent, type ClientRequest, type IncomingMessage, request } from "node:http";
import { Agent as TlsAgent, request as tlsRequest } from "node:https";
import type { Socket } from "node:net";
import type { SecureContext } from "node:tls";
import type { Clock } from "../support/clock.ts";

/** Bounds of what goes to one app server, and of what comes back. */
export interface HttpBounds {
  readonly connectMs: number;
  /** The longest answer, in bytes. */
  readonly answerBytes: number;
  /** Connections at once; further requests wait for one. */
  readonly connections: number;
  /** Requests that may be under way or wait; more are refused at once. */
  readonly waiting: number;
}

export interface HttpQuestion {
  readonly method: "POST" | "OPTIONS";
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: Buffer;
  /** How long the whole may take, waiting for a connection too. */
  readonly withinMs: number;
  /** Gives it up. */
  readonly signal?: AbortSignal;
  /** The app server has said 102: it is at work, and may take `workingMs` from now. */
  readonly working?: () => void;
  readonly workingMs?: number;
  /** The span that it belongs to (W3C Trace Context), where there are traces. */
  readonly traceparent?: string;
}

export interface HttpAnswer {
  readonly status: number;
  readonly phrase: string;
  readonly contentType: string;
  readonly retryAfter: string | undefined;
  readonly body: Buffer;
}

/** An answer, or why there is none. `late`: time was up. */
export type Outcome = HttpAnswer | { readonly failed: string; readonly late?: true };

const MAX_HEADER_BYTES = 16_384;
const FREE_CONNECTIONS = 8;

/**
 * Asks one app server by HTTP. Redirects are not followed, so nothing is asked but what the operator has registered.
 * Connections are kept open for the next request.
 */
export class HttpClient {
  private readonly url: URL;
  private readonly bounds: HttpBounds;
  private readonly clock: Pick<Clock, "setTimeout" | "clearTimeout">;
  private readonly agent: Agent;
  private readonly secure: (() => SecureContext) | undefined;
  private readonly servername: string | undefined;
  private underWay = 0;

  /** `secure`: whom to believe, asked for each new connection. `name`: what its certificate must name. */
  constructor(
    url: URL,
    bounds: HttpBounds,
    clock: Pick<Clock, "setTimeout" | "clearTimeout">,
    { secure, name }: { readonly secure?: (() => SecureContext) | undefined; readonly name?: string | undefined } = {},
  ) {
    this.url = url;
    this.bounds = bounds;
    this.clock = clock;
    const options = { keepAlive: true, maxSockets: bounds.connections, maxFreeSockets: FREE_CONNECTIONS };
    this.agent = url.protocol === "https:" ? new TlsAgent({ ...options, minVersion: "TLSv1.2" }) : new Agent(options);
    this.secure = secure;
    this.servername = name;
  }

  /** Never rejects. */
  async ask(question: HttpQuestion): Promise<Outcome> {
    if (this.underWay >= this.bounds.waiting) return { failed: "too many requests wait for it" };
    this.underWay++;
    try {
      const outcome = await this.askOnce(question);
      // The app server has closed a connection just when it was used again: nothing was heard, so it is asked anew.
      return outcome === "stale" ? await this.askOnce(question, true) : outcome;
    } finally {
      this.underWay--;
    }
  }

  close(): void {
    this.agent.destroy();
  }

  private askOnce(question: HttpQuestion, again: true): Promise<Outcome>;
  private askOnce(question: HttpQuestion): Promise<Outcome | "stale">;
  private askOnce(question: HttpQuestion, again?: true): Promise<Outcome | "stale"> {
    const { method, headers, body, withinMs, signal, working, workingMs = withinMs } = question;
    const { clock, bounds, url } = this;
    return new Promise((resolve) => {
      const ask = url.protocol === "https:" ? tlsRequest : request;
      const sent: ClientRequest = ask(url, {
        method,
        agent: this.agent,
        headers: { ...headers, "Content-Length": String(body?.length ?? 0) },
        maxHeaderSize: MAX_HEADER_BYTES,
        ...(this.secure && { secureContext: this.secure() }),
        ...(this.servername !== undefined && { servername: this.servername }),
      });
      const finish = (outcome: Outcome | "stale") => {
        clock.clearTimeout(timer);
        clock.clearTimeout(connecting);
        signal?.removeEventListener("abort", aborted);
        resolve(outcome);
      };
      const giveUp = (outcome: Outcome) => {
        finish(outcome);
        sent.destroy();
      };
      const late = () => giveUp({ failed: "no answer in time", late: true });
      const aborted = () => giveUp({ failed: "given up" });
      let timer = clock.setTimeout(late, withinMs);
      let connecting: unknown;
      signal?.addEventListener("abort", aborted);
      sent.on("error", (error: NodeJS.ErrnoException) =>
        finish(sent.reusedSocket && !again ? "stale" : { failed: error.code ?? error.message }),
      );
      sent.once("socket", (socket: Socket) => {
        if (!socket.connecting) return;
        connecting = clock.setTimeout(() => giveUp({ failed: "no connection in time" }), bounds.connectMs);
        socket.once(url.protocol === "https:" ? "secureConnect" : "connect", () => clock.clearTimeout(connecting));
      });
      sent.on("information", ({ statusCode }) => {
        if (statusCode !== 102 || !working) return;
        clock.clearTimeout(timer);
        timer = clock.setTimeout(late, workingMs);
        working();
      });
      sent.once("response", (answer) => {
        const read = (outcome: Outcome) => ("failed" in outcome ? giveUp(outcome) : finish(outcome));
        readAnswer(answer, bounds.answerBytes, read);
      });
      if (signal?.aborted) aborted();
      else sent.end(body);
    });
  }
}

function readAnswer(answer: IncomingMessage, maxBytes: number, done: (outcome: Outcome) => void): void {
  const chunks: Buffer[] = [];
  let bytes = 0;
  answer.on("data", (chunk: Buffer) => {
    bytes += chunk.length;
    if (bytes > maxBytes) done({ failed: `its answer has more than ${maxBytes} bytes` });
    else chunks.push(chunk);
  });
  answer.once("error", (error) => done({ failed: error.message }));
  answer.once("end", () => {
    if (bytes > maxBytes) return;
    const { statusCode = 0, statusMessage = "", headers } = answer;
    done({
      status: statusCode,
      phrase: statusMessage,
      contentType: headers["content-type"] ?? "",
      retryAfter: headers["retry-after"],
      body: Buffer.concat(chunks),
    });
  });
}
