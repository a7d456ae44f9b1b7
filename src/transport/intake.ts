import { randomInt } from "node:crypto";
import type { Clock } from "../support/clock.ts";
import { Ring } from "./ring.ts";
import { callIdKey, isInvite, isMessage, KNOWN, keyOfCallId, NEW, URGENT, urgencyOf } from "./urgency.ts";
import { ADMITTED, REFUSED, Verdicts } from "./verdicts.ts";

/*
 * What comes in while more comes than can be handled. Requests inside sessions go before new ones, and new ones that
 * have waited too long are refused.
 *
 * As long as the relay keeps up, each message is handled as soon as it is read, and nothing here costs more than a
 * counter, and for an INVITE a note of its Call-ID. If a turn of the event loop brings many, the rest waits in the
 * kernel, where all are equal. Then the relay reads ahead: it takes all that the kernel has into queues of its own, and
 * handles the urgent ones first.
 */

/** Who reads and handles the messages. `Origin`: by which socket they came. */
export interface IntakeUser<Origin> {
  /** Returns the Call-ID of an INVITE that begins something, as it was read; undefined: it was anything else. */
  handle(bytes: Buffer, origin: Origin, address: string, port: number): string | undefined;
  /** It begins something, and has waited too long. */
  refuse(bytes: Buffer, origin: Origin, address: string, port: number): void;
  /** Nothing more is to be read there (`on`) until what came is handled. A socket that serves everybody goes on. */
  hold(origin: Origin, on: boolean): void;
  /** Now more comes than can be handled at once. */
  fellBehind(): void;
}

/** libuv reads so many datagrams from a socket in one turn. If there were as many, there may be more. */
const FULL_TURN = 32;
/** Every so many messages, the rest of the turn is counted. */
const LOOK_EVERY = 8;
/** So many in the rest of the turn mean that the kernel has more. */
const HEAVY = 20;
/**
 * So many messages are handled in a turn at least while the kernel may have more: reading must be faster than what
 * comes.
 */
const WHILE_FULL = 8;
/**
 * Otherwise, and if the rest of the turn took as long, messages have so much of it: half of the time is theirs,
 * whatever else there is to do, such as the handshakes of thousands who connect.
 */
const LEAST_IN_TURN_MS = 2;
const MOST_IN_TURN_MS = 20;
const MOST_IN_TURN = 256;
const MOST_REFUSED_IN_TURN = 32;
/** So many turns in which nothing waits, and the relay has caught up. */
const CALM_TURNS = 4;

/**
 * How long a request that begins something may wait, in milliseconds: well below the 100 ms that nobody should notice.
 */
export const MAY_WAIT_MS = 50;
/**
 * Who has been let in once may wait so many times as long, and goes before those who come. That is still less than T1,
 * after which the same would come again (RFC 3261 §17.1.1.2). Beyond that not even that can be served.
 */
const KNOWN_MAY_WAIT = 8;
/** An INVITE whose challenge is answered brings so many more messages soon: itself again, answers, ACKs. */
const FOLLOW = 5;
/** Calls may be let in ahead of the work that they bring: so much of it, in milliseconds. */
const AHEAD_MS = 50;
/**
 * Nobody is refused for a wait alone: the process may have stood still for a moment, and what waits is soon done. There
 * must also be more work than for this part of that time, and the relay must have worked for so many times that time
 * without having come to the end of what waits.
 */
const MOST_WORK = 0.8;
const STANDS_FROM = 2;
/**
 * If the process stood still, what came meanwhile takes as long again to be done at half the load. Nobody is refused
 * for that: it must have worked for that time more, up to this bound, if it stood still so lately (milliseconds).
 */
const MOST_STOOD_MS = 500;
const STOOD_LATELY_MS = 500;
/** A message also costs its reading, and what it leaves for later. */
const WHOLE_COST = 1.5;
/** The cost is that of so many messages. */
const COST_OF = 512;
/** With fewer, it is not known: the first messages meet code that is not compiled yet. */
const KNOWN_FROM = 64;

const MOST_WAITING = { [URGENT]: 16_384, [KNOWN]: 4_096, [NEW]: 4_096 } as const;
/**
 * With so many requests of one connection waiting that begin something, it is read no further; with so few, it is
 * again.
 */
const HOLD_AT = 256;
const LET_GO_AT = 64;
const MOST_BYTES = 32 * 1024 * 1024;
/** How often the loop is looked at when nothing else does. */
const LOOK_MS = 20;
/** The longest wait is told for this time, and at most for twice as long. */
const TOLD_MS = 30_000;

/** What was seen so far, for metrics. */
export interface IntakeStats {
  /** How often more came than could be handled at once. */
  overloads: number;
  /** Requests that begin something and were refused for that. */
  refused: number;
  /** Those among them that were INVITEs. */
  calls: number;
  /** Urgent messages for which there was no room. */
  lost: number;
}

export class Intake<Origin> {
  readonly stats: IntakeStats = { overloads: 0, refused: 0, calls: 0, lost: 0 };
  private readonly user: IntakeUser<Origin>;
  private readonly clock: Clock;
  private readonly defer: (then: () => void) => void;
  private readonly cpuMs: () => number;
  private readonly waiting = [
    new Ring<Origin>(MOST_WAITING[URGENT]),
    new Ring<Origin>(MOST_WAITING[KNOWN]),
    new Ring<Origin>(MOST_WAITING[NEW]),
  ] as const;
  /** How many requests that begin something wait, by connection. */
  private readonly of = new Map<Origin, number>();
  private readonly mayWaitMs: number;
  private readonly verdicts = new Verdicts();
  private readonly salt = randomInt(2 ** 32);
  /** How many calls were let in and how many of them have answered their challenge, lately. */
  private letIn = 0;
  private cameBack = 0;
  /** For so much more work calls may be let in now, in milliseconds; below 0: later. */
  private aheadMs = AHEAD_MS;
  private aheadAt = 0;
  private lastTurnAt = 0;
  private bytes = 0;
  private busyMs = 0;
  private busyWith = 0;
  /** For how long it has handled messages since nothing waited. */
  private sinceEmptyMs = 0;
  private queues = false;
  private looks = false;
  private inTurn = 0;
  private turnBegan = 0;
  private calmTurns = 0;
  /**
   * When the kernel had nothing for us that we know of: what is read now came after that. Its age is not known better,
   * since the time for which it lay in the kernel counts.
   */
  private emptyAt = 0;
  /** The loop stood still from then until then. */
  private stoodFrom = 0;
  private stoodUntil = Number.NEGATIVE_INFINITY;
  /** The longest time for which it stood still since nothing waited. */
  private stoodMs = 0;
  private expectedAt = 0;
  /** The time, at most `LOOK_MS` ago while the loop turns: to ask for it would cost as much as a Call-ID. */
  private lookedAt: number;
  private timer: unknown;
  private worstMs = 0;
  /** In the time before `worstSince`. */
  private worstBeforeMs = 0;
  private worstSince: number;
  private closed = false;

  /**
   * `mayWaitMs`: how long a request that begins something may wait before it is refused; 0: as long as there is room.
   * `defer`: calls back when this turn of the event loop has read what there was. `cpuMs`: the processor time that was
   * used so far.
   */
  constructor(
    user: IntakeUser<Origin>,
    clock: Clock,
    mayWaitMs: number = MAY_WAIT_MS,
    defer: (then: () => void) => void = setImmediate,
    cpuMs: () => number = usedCpuMs,
  ) {
    this.user = user;
    this.clock = clock;
    this.mayWaitMs = mayWaitMs === 0 ? Number.POSITIVE_INFINITY : mayWaitMs;
    this.defer = defer;
    this.cpuMs = cpuMs;
    this.lookedAt = this.worstSince = clock.monotonic();
  }

  /** More has come than can be handled at once. */
  get isBehind(): boolean {
    return this.queues;
  }

  /**
   * How long a message waited at most in the last half minute, or a little before, or the loop stood still:
   * milliseconds. Whoever asks changes nothing for others.
   */
  get longestDelayMs(): number {
    return Math.max(this.worstMs, this.worstBeforeMs);
  }

  start(): void {
    this.expectedAt = this.clock.monotonic() + LOOK_MS;
    this.arm();
  }

  private arm(): void {
    this.timer = this.clock.setTimeout(() => {
      const now = this.clock.monotonic();
      const lateMs = now - this.expectedAt;
      if (lateMs > LOOK_MS) {
        this.stoodFrom = this.expectedAt;
        this.stoodUntil = now;
        this.stoodMs = Math.min(MOST_STOOD_MS, Math.max(this.stoodMs, lateMs));
      }
      if (now - this.worstSince >= TOLD_MS) {
        this.worstBeforeMs = this.worstMs;
        this.worstMs = 0;
        this.worstSince = now;
      }
      if (lateMs > this.worstMs) this.worstMs = lateMs;
      this.lookedAt = now;
      this.expectedAt = now + LOOK_MS;
      if (!this.closed) this.arm();
    }, LOOK_MS);
  }

  close(): void {
    this.closed = true;
    this.clock.clearTimeout(this.timer);
    for (const ring of this.waiting) while (ring.size > 0) ring.drop();
  }

  /** A message was read: it is handled now, or waits for more urgent ones. */
  take(bytes: Buffer, origin: Origin, address: string, port: number): void {
    this.inTurn++;
    if (this.queues) this.put(bytes, origin, address, port);
    else {
      if (this.inTurn >= LOOK_EVERY && !this.looks) this.lookAtTurn();
      const callId = this.user.handle(bytes, origin, address, port);
      // If the relay falls behind before the challenge is answered, who was let in now stays in. It was read just now,
      // so its bytes are not searched.
      if (callId !== undefined) this.verdicts.set(keyOfCallId(callId, this.salt), ADMITTED, this.lookedAt);
    }
  }

  private lookAtTurn(): void {
    this.looks = true;
    this.inTurn = 0;
    this.turnBegan = this.lookedAt = this.clock.monotonic();
    this.defer(this.look);
  }

  private readonly look = (): void => {
    this.looks = false;
    const { inTurn } = this;
    this.inTurn = 0;
    if (inTurn < HEAVY || this.closed) return;
    this.stats.overloads++;
    this.user.fellBehind();
    this.queues = true;
    this.calmTurns = 0;
    const stoodJustNow = this.turnBegan - this.stoodUntil < LOOK_MS;
    this.emptyAt = stoodJustNow ? this.stoodFrom : this.turnBegan;
    if (this.turnBegan - this.stoodUntil > STOOD_LATELY_MS) this.stoodMs = 0;
    this.lastTurnAt = this.clock.monotonic();
    this.aheadMs = AHEAD_MS;
    this.aheadAt = this.lastTurnAt;
    this.defer(this.turn);
  };

  private put(bytes: Buffer, origin: Origin, address: string, port: number): void {
    let urgency = urgencyOf(bytes);
    let key = 0;
    if (urgency !== URGENT) {
      key = callIdKey(bytes, this.salt);
      const verdict = this.verdicts.of(key, this.lastTurnAt);
      if (verdict === REFUSED) {
        this.refuse(bytes, origin, address, port);
        return;
      }
      // Whoever has not been let in gains nothing by credentials: they may be anything.
      if (verdict === ADMITTED) {
        if (urgency === KNOWN && this.cameBack < this.letIn) this.cameBack++;
        urgency = KNOWN;
      } else if (!isMessage(bytes)) urgency = NEW;
    }
    const ring = this.waiting[urgency];
    if (ring.isFull || this.bytes + bytes.length > MOST_BYTES) {
      if (urgency === URGENT) this.stats.lost++;
      else {
        this.verdicts.set(key, REFUSED, this.lastTurnAt);
        this.refuse(bytes, origin, address, port);
      }
      return;
    }
    this.bytes += bytes.length;
    if (urgency !== URGENT) {
      const waits = (this.of.get(origin) ?? 0) + 1;
      this.of.set(origin, waits);
      if (waits === HOLD_AT) this.user.hold(origin, true);
    }
    ring.put(bytes, origin, address, port, this.emptyAt, key);
  }

  /** All that this turn has read is in the queues. */
  private readonly turn = (): void => {
    if (this.closed) return;
    const isFull = this.inTurn >= FULL_TURN;
    this.inTurn = 0;
    const [urgent, known, fresh] = this.waiting;
    let now = this.clock.monotonic();
    if (!isFull) this.emptyAt = now;
    const began = now;
    const cpuMs = this.cpuMs();
    const until = began + Math.min(MOST_IN_TURN_MS, Math.max(isFull ? 0 : LEAST_IN_TURN_MS, began - this.lastTurnAt));
    const least = isFull ? WHILE_FULL : 1;
    let n = 0;
    for (; n < MOST_IN_TURN && (n < least || now < until); n++) {
      const ring = urgent.size > 0 ? urgent : known.size > 0 ? known : fresh;
      if (ring.size === 0) break;
      const waitedMs = now - ring.since;
      if (waitedMs > this.worstMs) this.worstMs = waitedMs;
      if (ring !== urgent && waitedMs > this.mayWaitOf(ring) && this.hasTooMuch) break;
      if (ring === fresh && !this.mayLetIn(now)) break;
      this.handleFirst(ring);
      now = this.clock.monotonic();
    }
    if (n > 0) this.cost(this.cpuMs() - cpuMs, n);
    const waits = urgent.size > 0 || known.size > 0 || fresh.size > 0;
    this.refuseLate(known, now);
    this.refuseLate(fresh, now);
    this.lastTurnAt = this.lookedAt = this.clock.monotonic();
    if (!waits) {
      this.sinceEmptyMs = 0;
      if (now - this.stoodUntil > STOOD_LATELY_MS) this.stoodMs = 0;
    }
    this.calmTurns = waits || isFull ? 0 : this.calmTurns + 1;
    if (this.calmTurns < CALM_TURNS) this.defer(this.turn);
    else this.queues = false;
  };

  private mayWaitOf(ring: Ring<Origin>): number {
    return ring === this.waiting[NEW] ? this.mayWaitMs : KNOWN_MAY_WAIT * this.mayWaitMs;
  }

  /**
   * So much processor time went into so many messages. The time in which other programs had the processor does not
   * count, nor does what gives way to messages, such as the handshakes of those who connect.
   */
  private cost(ms: number, messages: number): void {
    this.busyMs += ms;
    this.sinceEmptyMs += ms;
    this.busyWith += messages;
    if (this.busyWith < COST_OF) return;
    this.busyMs /= 2;
    this.busyWith /= 2;
  }

  private get hasTooMuch(): boolean {
    const [urgent, known, fresh] = this.waiting;
    if (this.busyWith < KNOWN_FROM) return false;
    if (this.sinceEmptyMs * WHOLE_COST < STANDS_FROM * this.mayWaitMs + this.stoodMs) return false;
    const waits = urgent.size + known.size + fresh.size * this.messagesOfNew;
    return waits * this.messageMs > MOST_WORK * this.mayWaitMs;
  }

  private get messageMs(): number {
    return (this.busyMs / this.busyWith) * WHOLE_COST;
  }

  /**
   * How many messages one brings that begins something. A challenge costs little, and what follows costs much: who is
   * let in must be served when the answer comes. Those who never answer bring nothing, so they keep nobody out.
   */
  private get messagesOfNew(): number {
    return this.letIn < KNOWN_FROM ? 1 : 1 + FOLLOW * (this.cameBack / this.letIn);
  }

  /**
   * Not more calls are let in than there is time for what they bring, whenever that comes. Otherwise a pause in which
   * others think brings a crowd of challenges, and then their answers all at once.
   */
  private mayLetIn(now: number): boolean {
    if (this.busyWith < KNOWN_FROM) return true;
    this.aheadMs = Math.min(AHEAD_MS, this.aheadMs + now - this.aheadAt);
    this.aheadAt = now;
    return this.aheadMs >= 0 || this.mayWaitMs === Number.POSITIVE_INFINITY;
  }

  private noteLetIn(): void {
    if (this.busyWith >= KNOWN_FROM) this.aheadMs -= this.messagesOfNew * this.messageMs;
    this.letIn++;
    if (this.letIn < COST_OF) return;
    this.letIn /= 2;
    this.cameBack /= 2;
  }

  private handleFirst(ring: Ring<Origin>): void {
    const { bytes, origin, address, port, key } = ring;
    if (ring === this.waiting[NEW]) {
      this.verdicts.set(key, ADMITTED, this.lastTurnAt);
      if (isInvite(bytes)) this.noteLetIn();
    }
    this.leave(ring);
    this.user.handle(bytes, origin, address, port);
  }

  /** The first one waits no longer. */
  private leave(ring: Ring<Origin>): void {
    const { bytes, origin } = ring;
    this.bytes -= bytes.length;
    ring.drop();
    if (ring === this.waiting[URGENT]) return;
    const waits = (this.of.get(origin) ?? 1) - 1;
    if (waits > 0) this.of.set(origin, waits);
    else this.of.delete(origin);
    if (waits === LET_GO_AT) this.user.hold(origin, false);
  }

  private refuseLate(ring: Ring<Origin>, now: number): void {
    const mayWaitMs = this.mayWaitOf(ring);
    for (let n = 0; n < MOST_REFUSED_IN_TURN && ring.size > 0 && now - ring.since > mayWaitMs; n++) {
      if (!this.hasTooMuch) return;
      const { bytes, origin, address, port, key } = ring;
      this.leave(ring);
      this.verdicts.set(key, REFUSED, now);
      this.refuse(bytes, origin, address, port);
    }
  }

  private refuse(bytes: Buffer, origin: Origin, address: string, port: number): void {
    this.stats.refused++;
    if (isInvite(bytes)) this.stats.calls++;
    this.user.refuse(bytes, origin, address, port);
  }
}

/** Of this thread, where Node knows that (from 23.9 on), else of the process with all of its threads. */
function usedCpuMs(): number {
  const { threadCpuUsage } = process as { threadCpuUsage?: () => NodeJS.CpuUsage };
  const { user, system } = threadCpuUsage ? threadCpuUsage.call(process) : process.cpuUsage();
  return (user + system) / 1000;
}
