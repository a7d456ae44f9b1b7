import {
  createInbox,
  headers,
  type Msg,
  type MsgHdrs,
  type NatsConnection,
  type Subscription,
} from "@nats-io/transport-node";
import { EventError } from "../charging/events/faults.ts";
import type { Clock, TimerHandle } from "../support/clock.ts";

/** One message to publish. */
export interface Outgoing {
  readonly subject: string;
  /** Names and values; values must be without CR and LF. */
  readonly headers: readonly (readonly [name: string, value: string])[];
  readonly text: string;
}

interface Publication {
  readonly number: string;
  readonly stream: string;
  readonly messages: readonly Outgoing[];
  /** Index of the first message that was not sent yet. */
  next: number;
  /** How many of them are different ones: the stream has that many of them in the end. */
  readonly different: number;
  /** Under which numbers the stream has them. */
  readonly stored: Set<string>;
  /** How many of those that were sent are answered. */
  answered: number;
  timer: TimerHandle;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

/** The number of a message in its stream, in an acknowledgement. 0 is none. */
const SEQUENCE = /"seq":\s*([1-9]\d*)/;

/** By what the stream knows a message that comes again. */
const idOf = (message: Outgoing): unknown => message.headers.find(([name]) => name === "Nats-Msg-Id")?.[1] ?? message;

/** The error of a publication whose subject no stream takes. */
export const NO_STREAM = "no stream of NATS takes this subject";
/** How many messages may be sent and not acknowledged yet. */
const WINDOW = 2_000;
/** A publication that gets no acknowledgement for so long is given up. The journal tries again. */
const SILENT_MS = 5_000;

/**
 * Publishes to JetStream, pipelined: many messages are on the way at once. A whole publication has one promise and one
 * timer, and one subscription takes all acknowledgements. The number of the publication is in its reply subject, so
 * late answers to one that was given up are ignored. A message counts by its number in the stream: if the servers
 * acknowledged one of them twice, that would not stand for another one.
 */
export class NatsPublisher {
  private readonly nc: NatsConnection;
  private readonly clock: Clock;
  private readonly inbox: string;
  private readonly subscription: Subscription;
  private readonly open = new Map<string, Publication>();
  private readonly waiting: Publication[] = [];
  private inFlight = 0;
  private numbers = 0;

  constructor(nc: NatsConnection, clock: Clock, inboxPrefix?: string) {
    this.nc = nc;
    this.clock = clock;
    this.inbox = `${createInbox(inboxPrefix)}.`;
    this.subscription = nc.subscribe(`${this.inbox}*`, {
      callback: (error, message) => (error ? this.abandon(error) : this.answered(message)),
    });
  }

  /** Resolves when `stream` has stored all messages. Rejects if it may not have stored them. */
  publish(stream: string, messages: readonly Outgoing[]): Promise<void> {
    return new Promise((resolve, reject) => {
      const number = String(++this.numbers);
      const different = new Set(messages.map(idOf)).size;
      const begun = { next: 0, answered: 0, timer: 0, stored: new Set<string>() };
      const publication: Publication = { number, stream, messages, different, ...begun, resolve, reject };
      this.open.set(number, publication);
      this.waiting.push(publication);
      this.watch(publication);
      this.send();
    });
  }

  private watch(publication: Publication): void {
    publication.timer = this.clock.setTimeout(
      () => this.fail(publication, new Error("NATS acknowledges nothing")),
      SILENT_MS,
    );
  }

  private send(): void {
    for (let first = this.waiting[0]; first && this.inFlight < WINDOW; first = this.waiting[0]) {
      const { messages, number } = first;
      const until = Math.min(messages.length, first.next + WINDOW - this.inFlight);
      const reply = this.inbox + number;
      try {
        for (; first.next < until; first.next++) {
          const { subject, headers: pairs, text } = messages[first.next]!;
          this.nc.publish(subject, text, { reply, headers: encoded(pairs) });
          this.inFlight++;
        }
      } catch (error) {
        this.fail(first, error as Error);
        continue;
      }
      if (first.next === messages.length) this.waiting.shift();
    }
  }

  private answered(message: Msg): void {
    const publication = this.open.get(message.subject.slice(this.inbox.length));
    if (!publication) return;
    const text = message.string();
    // `{"stream":"TOLLGATE","seq":7}`. An answer from anything but the stream is ignored.
    if (text.startsWith(`{"stream":"${publication.stream}"`)) {
      if (publication.answered < publication.next) {
        publication.answered++;
        this.inFlight--;
      }
      const sequence = SEQUENCE.exec(text)?.[1];
      if (sequence !== undefined) publication.stored.add(sequence);
      if (publication.stored.size === publication.different) {
        this.remove(publication);
        publication.resolve();
      } else if (sequence !== undefined && publication.stored.size % 100 === 0) {
        this.clock.clearTimeout(publication.timer);
        this.watch(publication);
      }
      this.send();
      return;
    }
    if (message.headers?.code === 503) this.fail(publication, new Error(NO_STREAM));
    else if (text.startsWith('{"error"')) this.fail(publication, refusal(text));
  }

  private fail(publication: Publication, error: Error): void {
    this.remove(publication);
    publication.reject(error);
    this.send();
  }

  private remove(publication: Publication): void {
    this.inFlight -= publication.next - publication.answered;
    this.clock.clearTimeout(publication.timer);
    this.open.delete(publication.number);
    const at = this.waiting.indexOf(publication);
    if (at >= 0) this.waiting.splice(at, 1);
  }

  /** Rejects all publications on their way: the connection is gone, or the server forbids them. */
  abandon(error: Error): void {
    for (const publication of [...this.open.values()]) {
      this.remove(publication);
      publication.reject(error);
    }
    this.inFlight = 0;
  }

  close(error: Error): void {
    this.abandon(error);
    this.subscription.unsubscribe();
  }
}

function encoded(pairs: Outgoing["headers"]): MsgHdrs {
  const made = headers();
  for (const [name, value] of pairs) made.append(name, value);
  return made;
}

/** JetStream's error code for a message above the stream's `max_msg_size`. */
const TOO_LARGE = 10054;

function refusal(text: string): Error {
  try {
    const { error } = JSON.parse(text) as { error: { description?: string; err_code?: number } };
    const said = `NATS refuses an event: ${error.description} (${error.err_code})`;
    return error.err_code === TOO_LARGE ? new EventError(said) : new Error(said);
  } catch {
    return new Error(`NATS refuses an event: ${text.slice(0, 200)}`);
  }
}
