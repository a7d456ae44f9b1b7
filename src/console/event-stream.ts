import type { Spectator } from "../node/watch-around.ts";
import { type Clock, type TimerHandle, unref } from "../support/clock.ts";
import { lineViewer } from "../trace/event-lines.ts";
import type { WatchQuery } from "../trace/filter.ts";
import type { Viewer } from "../trace/watching.ts";

/** Lines that are kept of a stream, for a reader who comes back. */
const RING = 2_000;
/** Lines that may wait for somebody who reads slowly, besides those of the ring that are repeated. */
const MOST_WAITING = 1_000;
/** How long a stream without a reader goes on, so that it can be taken up again. */
const LINGER_MS = 30_000;
const COMMENT_MS = 15_000;
const MOST_STREAMS = 16;

type Watch = (viewer: Viewer) => (() => void) | undefined;
/** The same at the other nodes of a cluster: lines as they come from there. */
export type WatchElsewhere = (query: WatchQuery, spectator: Spectator) => (() => void) | undefined;
type Timers = Pick<Clock, "setTimeout" | "clearTimeout">;

interface Line {
  readonly number: number;
  readonly text: string;
}

/** The streams of events that are open, or may be taken up again. */
export class EventStreams {
  private readonly watch: Watch;
  private readonly around: WatchElsewhere;
  private readonly clock: Timers;
  private readonly streams = new Map<string, EventStream>();
  private readonly newId: () => string;

  constructor(options: {
    readonly watch: Watch;
    readonly around?: WatchElsewhere | undefined;
    readonly clock: Timers;
    readonly newId: () => string;
  }) {
    this.watch = options.watch;
    this.around = options.around ?? (() => undefined);
    this.clock = options.clock;
    this.newId = options.newId;
  }

  /**
   * Opens a stream, or takes one up again after the line `last`. Undefined: there are too many. `whose`: nobody takes
   * up the stream of somebody else.
   */
  open(query: WatchQuery, whose: string, last: string | undefined): ReadableStream<Uint8Array> | undefined {
    const [, id = "", number] = /^([0-9a-z]+)-(\d{1,15})$/.exec(last ?? "") ?? [];
    const name = JSON.stringify([whose, query]);
    const before = this.streams.get(id);
    if (before?.name === name) return before.read(Number(number));
    if (this.streams.size >= MOST_STREAMS && !this.makeRoom()) return undefined;
    const stream = new EventStream({
      id: this.newId(),
      name,
      clock: this.clock,
      over: () => this.streams.delete(stream.id),
    });
    if (!stream.begin(this.watch, this.around, query)) throw new Error("the relay is not ready yet");
    this.streams.set(stream.id, stream);
    return stream.read(last === undefined ? 0 : undefined);
  }

  close(): void {
    for (const stream of this.streams.values()) stream.end();
  }

  /** One that nobody reads gives way. */
  private makeRoom(): boolean {
    for (const stream of this.streams.values())
      if (!stream.isRead) {
        stream.end();
        return true;
      }
    return false;
  }
}

class EventStream {
  readonly id: string;
  readonly name: string;
  private readonly clock: Timers;
  private readonly over: () => void;
  private readonly ring: Line[] = [];
  private number = 0;
  private reader: ReadableStreamDefaultController<Uint8Array> | undefined;
  private stop: (() => void) | undefined;
  private lingers: TimerHandle | undefined;
  private comments: TimerHandle | undefined;

  constructor(options: {
    readonly id: string;
    readonly name: string;
    readonly clock: Timers;
    readonly over: () => void;
  }) {
    this.id = options.id;
    this.name = options.name;
    this.clock = options.clock;
    this.over = options.over;
  }

  get isRead(): boolean {
    return this.reader !== undefined;
  }

  /** False: there is nothing to watch yet. */
  begin(watch: Watch, around: WatchElsewhere, query: WatchQuery): boolean {
    const stopHere = watch(lineViewer(query, (line) => this.put(line)));
    if (!stopHere) return false;
    const stopAround = around(query, {
      line: (line) => this.put(line),
      missed: (missed, node) => this.tell("gap", { missed, node }, this.number),
    });
    this.stop = () => {
      stopHere();
      stopAround?.();
    };
    return true;
  }

  /** `after`: the last line that was read; undefined: the stream that had it is gone. */
  read(after: number | undefined): ReadableStream<Uint8Array> {
    this.leave("another reader has taken it up");
    this.clock.clearTimeout(this.lingers);
    return new ReadableStream<Uint8Array>(
      {
        start: (controller) => {
          this.reader = controller;
          this.say("retry: 2000\n\n");
          this.tell("ready", {}, this.number);
          if (after === undefined) this.tell("gap", {}, this.number);
          else this.repeat(after);
          this.comment();
        },
        cancel: () => this.left(),
      },
      { highWaterMark: RING + MOST_WAITING },
    );
  }

  private repeat(after: number): void {
    const [first] = this.ring;
    const missed = first && first.number > after + 1 ? first.number - after - 1 : 0;
    if (missed > 0) this.tell("gap", { missed }, first!.number - 1);
    for (const { number, text } of this.ring) if (number > after) this.say(text);
  }

  private put(line: { readonly kind: string }): void {
    const number = ++this.number;
    const text = `id: ${this.id}-${number}\nevent: ${line.kind}\ndata: ${JSON.stringify(line)}\n\n`;
    this.ring.push({ number, text });
    if (this.ring.length > RING) this.ring.shift();
    if (this.hasRoom) this.say(text);
    else this.leave("you read too slowly: take it up again with Last-Event-ID");
  }

  private get hasRoom(): boolean {
    return !this.reader || (this.reader.desiredSize ?? 0) > 0;
  }

  /** A line that stands outside of the count. */
  private tell(kind: string, about: object, number: number): void {
    this.say(`id: ${this.id}-${number}\nevent: ${kind}\ndata: ${JSON.stringify({ kind, ...about })}\n\n`);
  }

  private say(text: string): void {
    this.reader?.enqueue(encoder.encode(text));
  }

  private comment(): void {
    this.clock.clearTimeout(this.comments);
    this.comments = this.clock.setTimeout(() => {
      if (this.hasRoom) this.say(": \n\n");
      this.comment();
    }, COMMENT_MS);
    unref(this.comments);
  }

  /** Ends the reading, and says why. */
  private leave(why: string): void {
    if (!this.reader) return;
    const last = `event: dropped\ndata: ${JSON.stringify({ kind: "dropped", text: why })}\n\n`;
    this.say(last);
    this.reader.close();
    this.left();
  }

  private left(): void {
    this.reader = undefined;
    this.clock.clearTimeout(this.comments);
    this.lingers = this.clock.setTimeout(() => this.end(), LINGER_MS);
    unref(this.lingers);
  }

  end(): void {
    this.clock.clearTimeout(this.lingers);
    this.clock.clearTimeout(this.comments);
    this.stop?.();
    this.reader?.close();
    this.reader = undefined;
    this.over();
  }
}

const encoder = new TextEncoder();
