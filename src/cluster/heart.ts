import type { Bus } from "../bus/types.ts";
import type { Clock, TimerHandle } from "../support/clock.ts";
import { BEAT_VERSION, type Beat, type NodeRun, writeBeat } from "./beat.ts";
import type { Direct } from "./direct.ts";
import type { Members } from "./members.ts";

/** How often a node says that it is there: death is noticed within 500 ms, and one beat or two may be late. */
export const BEAT_MS = 100;
/** How often it looks whether the others are. */
const LOOK_MS = BEAT_MS / 4;
/** A beat out of turn says at once that another node is missed; no more often than this. */
const OUT_OF_TURN_MS = 20;
const TOPIC = "beats";
/** A connection that has brought no beats for so long is given up. The next time, after twice as long. */
const RENEW_MS = 3_000;
const MOST_RENEW_MS = 60_000;

/** What a node says of itself that does not change while it runs. */
export type Identity = NodeRun & Pick<Beat, "host" | "zone" | "release">;
/** What a node says of itself that changes. */
export type Load = Pick<Beat, "sessions" | "requests" | "standbys" | "lagMs" | "busy" | "state">;

/** Says that this node is there, and has `Members` look who else is. */
export class Heart {
  private readonly bus: Pick<Bus, "tell" | "hear" | "renew">;
  private readonly clock: Clock;
  private readonly identity: Identity;
  private readonly load: () => Load;
  private readonly members: Members;
  private readonly direct: Pick<Direct, "say" | "address"> | undefined;
  private number = 0;
  private saidAt = 0;
  /** Since when this node has said beats over NATS, as it seems, and has not heard them; undefined: it hears them. */
  private deafSince: number | undefined;
  private renewAfterMs = RENEW_MS;
  /** How often the connection to NATS was given up, since the start. */
  renewed = 0;
  private timer: TimerHandle;
  private deafen: (() => void) | undefined;

  constructor(options: {
    readonly bus: Pick<Bus, "tell" | "hear" | "renew">;
    readonly clock: Clock;
    readonly identity: Identity;
    readonly load: () => Load;
    readonly members: Members;
    /** The way from node to node; undefined: beats go over NATS alone. */
    readonly direct?: Pick<Direct, "say" | "address"> | undefined;
  }) {
    const { bus, clock, identity, load, members, direct } = options;
    this.direct = direct;
    this.bus = bus;
    this.clock = clock;
    this.identity = identity;
    this.load = load;
    this.members = members;
  }

  /** Hears the other nodes from now on. */
  listen(): void {
    this.deafen ??= this.bus.hear?.(TOPIC, (text) => this.members.heard(text));
  }

  /** From now on the others hear this node, too. */
  start(): void {
    this.listen();
    this.beat();
  }

  /** Ends with a beat that says that this node leaves, so that nobody calls it dead. */
  stop(): void {
    if (this.fallSilent()) this.say({ ...this.load(), state: "leaving" });
  }

  /** Ends without a word: the others call this node dead. False: it had ended already. */
  fallSilent(): boolean {
    if (this.deafen === undefined) return false;
    this.clock.clearTimeout(this.timer);
    this.deafen();
    this.deafen = undefined;
    return true;
  }

  private beat(): void {
    this.say(this.load());
    this.members.look();
    this.lookOn(1);
  }

  private lookOn(times: number): void {
    this.timer = this.clock.setTimeout(() => {
      if (times * LOOK_MS >= BEAT_MS) return this.beat();
      this.members.look();
      this.lookOn(times + 1);
    }, LOOK_MS);
  }

  /** Says a beat out of turn. */
  sayNow(): void {
    if (this.deafen === undefined || this.number === 0 || this.clock.monotonic() - this.saidAt < OUT_OF_TURN_MS) return;
    this.say(this.load());
  }

  private say(load: Load): void {
    const number = ++this.number;
    this.saidAt = this.clock.monotonic();
    const direct = this.direct?.address ?? "";
    const heard = this.members.says(number);
    const beat = writeBeat({ version: BEAT_VERSION, ...this.identity, number, direct, ...load, ...heard });
    const told = this.bus.tell?.(TOPIC, beat) ?? false;
    this.direct?.say(beat);
    this.lookAtBus(told);
  }

  /** After a cut, a connection may seem to be there, and carry nothing for minutes. */
  private lookAtBus(told: boolean): void {
    const now = this.clock.monotonic();
    if (!this.members.cutOff) {
      this.deafSince = undefined;
      this.renewAfterMs = RENEW_MS;
    } else if (!told)
      this.deafSince = undefined; // the bus knows, and connects again
    else {
      this.deafSince ??= now;
      // Where others are heard, however late, it is the machine that is slow, and not the connection.
      if (now - Math.max(this.deafSince, this.members.natsHeardAt) < this.renewAfterMs) return;
      this.deafSince = undefined;
      this.renewAfterMs = Math.min(MOST_RENEW_MS, 2 * this.renewAfterMs);
      if (this.bus.renew?.("it has carried no beats for some seconds")) this.renewed++;
    }
  }
}
