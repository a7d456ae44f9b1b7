import { formatHost } from "../support/address.ts";
import type { Clock, TimerHandle } from "../support/clock.ts";
import type { Logger } from "../support/log.ts";
import type { Random } from "../support/random.ts";
import { type Bencoded, decode, type Encodable, encode } from "./bencode.ts";

export type { OpenNgSocket } from "./ng-socket.ts";

import { type NgSocket, type OpenNgSocket, openNgSocket, type Place } from "./ng-socket.ts";

/*
 * Commands to rtpengine by its NG protocol: a cookie, a space and a dictionary in bencode, in one UDP datagram each
 * way. A command that is repeated with the same cookie is carried out once, and answered again.
 */

/** `unanswered`: nothing came in time, or it takes nothing now. `refused`: it has said no, and why. */
export type NgAnswer =
  | { readonly ok: true; readonly fields: ReadonlyMap<string, Bencoded> }
  | { readonly ok: false; readonly kind: "unanswered" | "refused"; readonly why: string };

export interface NgOptions {
  readonly engines: readonly Place[];
  /** How long an answer is waited for. */
  readonly timeoutMs: number;
  /** How often one that did not answer is asked whether it is there. */
  readonly retryMs: number;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly open?: OpenNgSocket;
}

/** When a command is repeated for the first time; then after twice as long. */
const REPEAT_MS = 200;
/** The most commands that wait for an answer of one rtpengine. */
const MAX_PENDING = 5_000;

/** The rtpengines that the operator has. */
export class Rtpengines {
  readonly counters = { mediaCommands: 0, mediaRefused: 0, mediaUnanswered: 0 };
  readonly all: readonly Rtpengine[];
  private next = 0;

  constructor(options: NgOptions) {
    this.all = options.engines.map((place) => new Rtpengine(place, options, this.counters));
  }

  /** The next one in turn that answers; `not`: another than this. Undefined: there is none. */
  choose(not?: Rtpengine): Rtpengine | undefined {
    for (let i = 0; i < this.all.length; i++) {
      const engine = this.all[this.next++ % this.all.length]!;
      if (engine.answers && engine !== not) return engine;
    }
    return undefined;
  }

  /** The one of that name; undefined: the operator has it no more. */
  named(name: string): Rtpengine | undefined {
    return this.all.find((engine) => engine.name === name);
  }

  get down(): number {
    return this.all.filter(({ answers }) => !answers).length;
  }

  close(): void {
    for (const engine of this.all) engine.close();
  }
}

interface Pending {
  readonly bytes: Buffer;
  readonly done: (answer: NgAnswer) => void;
  readonly giveUpAt: number;
  waitMs: number;
  timer: TimerHandle;
}

export class Rtpengine {
  readonly name: string;
  /** Whether it has answered the last command. */
  answers = true;
  private readonly place: Place;
  private readonly options: NgOptions;
  private readonly counters: Rtpengines["counters"];
  private readonly pending = new Map<string, Pending>();
  private socket: NgSocket | undefined;
  private retry: TimerHandle;
  private closed = false;

  constructor(place: Place, options: NgOptions, counters: Rtpengines["counters"]) {
    this.place = place;
    this.options = options;
    this.counters = counters;
    this.name = `${formatHost(place.host)}:${place.port}`;
  }

  /** Calls `done` once, with the answer or with why there is none; never at once. */
  ask(
    command: string,
    fields: { readonly [key: string]: Encodable | undefined },
    done: (answer: NgAnswer) => void,
  ): void {
    const { clock, random, timeoutMs } = this.options;
    this.counters.mediaCommands++;
    const cookie = random.token(96);
    const bytes = Buffer.concat([Buffer.from(`${cookie} `), encode({ ...fields, command })]);
    const pending: Pending = {
      bytes,
      done,
      giveUpAt: clock.monotonic() + timeoutMs,
      waitMs: REPEAT_MS,
      timer: undefined,
    };
    const full = this.pending.size >= MAX_PENDING;
    if (this.closed || full) {
      const why = full ? "too many commands wait for it" : "closed";
      pending.timer = clock.setTimeout(() => done({ ok: false, kind: "unanswered", why }), 0);
      return;
    }
    this.pending.set(cookie, pending);
    this.send(cookie, pending);
  }

  close(): void {
    const { clock } = this.options;
    this.closed = true;
    clock.clearTimeout(this.retry);
    for (const { timer } of this.pending.values()) clock.clearTimeout(timer);
    this.pending.clear();
    this.socket?.close();
  }

  private send(cookie: string, pending: Pending): void {
    const { clock, open = openNgSocket } = this.options;
    const leftMs = pending.giveUpAt - clock.monotonic();
    if (leftMs <= 0) {
      this.settle(cookie, { ok: false, kind: "unanswered", why: `no answer within ${this.options.timeoutMs} ms` });
      this.isSilent("no answer");
      return;
    }
    this.socket ??= open(
      this.place,
      (bytes) => this.received(bytes),
      (reason) => {
        this.socket = undefined; // what waits is repeated by a new one
        this.options.log.debug({ rtpengine: this.name, reason }, "rtpengine: the socket failed");
      },
    );
    this.socket.send(pending.bytes);
    pending.timer = clock.setTimeout(() => this.send(cookie, pending), Math.min(pending.waitMs, leftMs));
    pending.waitMs *= 2;
  }

  private received(bytes: Buffer): void {
    const space = bytes.indexOf(0x20);
    const cookie = bytes.toString("latin1", 0, Math.max(0, Math.min(space, 64)));
    if (!this.pending.has(cookie)) return; // it comes a second time, or too late
    const read = decode(bytes.subarray(space + 1));
    const fields = read.ok && read.value instanceof Map ? (read.value as ReadonlyMap<string, Bencoded>) : undefined;
    this.isThere();
    const result = textIn(fields, "result");
    if (fields && (result === "ok" || result === "pong")) {
      this.settle(cookie, { ok: true, fields });
      return;
    }
    const why = textIn(fields, "error-reason") ?? (fields ? `result ${result}` : "its answer cannot be read");
    // At its limit it takes no new calls (`load limit`): another one may.
    const kind = result === "load limit" ? "unanswered" : "refused";
    this.settle(cookie, { ok: false, kind, why: why.slice(0, 200) });
  }

  private settle(cookie: string, answer: NgAnswer): void {
    const pending = this.pending.get(cookie);
    if (!pending) return;
    this.pending.delete(cookie);
    this.options.clock.clearTimeout(pending.timer);
    if (!answer.ok) this.counters[answer.kind === "refused" ? "mediaRefused" : "mediaUnanswered"]++;
    pending.done(answer);
  }

  private isThere(): void {
    if (this.answers) return;
    this.answers = true;
    this.options.clock.clearTimeout(this.retry);
    this.options.log.info({ rtpengine: this.name }, "rtpengine: it answers again");
  }

  private isSilent(why: string): void {
    const { clock, log, retryMs } = this.options;
    if (this.closed) return;
    if (this.answers)
      log.error({ rtpengine: this.name, why }, "rtpengine: it does not answer, and is not asked until it does");
    this.answers = false;
    clock.clearTimeout(this.retry);
    this.retry = clock.setTimeout(() => this.ask("ping", {}, () => {}), retryMs);
  }
}

/** A text among the fields of an answer. */
export function textIn(fields: ReadonlyMap<string, Bencoded> | undefined, key: string): string | undefined {
  const value = fields?.get(key);
  return Buffer.isBuffer(value) ? value.toString("utf8") : undefined;
}
