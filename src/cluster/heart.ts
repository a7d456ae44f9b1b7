import type { Bus } from "../bus/types.ts";
import type { Clock, TimerHandle } from "../support/clock.ts";
import { BEAT_VERSION, type Beat, type NodeRun, writeBeat } from "./beat.ts";
import type { Direct } from "./direct.ts";
import type { Members } from "./members.ts";

/** How often a node says that it is there: death is noticed within 500 ms, and one beat or two may be late. */
export const BEAT_MS = 100;
/** How often it looks whether the others are. */
const LOOK_MS = BEAT_MS / 2;
const TOPIC = "beats";

/** What a node says of itself that does not change while it runs. */
export type Identity = NodeRun & Pick<Beat, "host" | "zone" | "release">;
/** What a node says of itself that changes. */
export type Load = Pick<Beat, "sessions" | "requests" | "standbys" | "lagMs" | "busy" | "state">;

/** Says that this node is there, and has `Members` look who else is. */
export class Heart {
  private readonly bus: Pick<Bus, "tell" | "hear">;
  private readonly clock: Clock;
  private readonly identity: Identity;
  private readonly load: () => Load;
  private readonly members: Members;
  private readonly direct: Pick<Direct, "say" | "address"> | undefined;
  private number = 0;
  private timer: TimerHandle;
  private deafen: (() => void) | undefined;

  constructor(options: {
    readonly bus: Pick<Bus, "tell" | "hear">;
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
    if (this.deafen === undefined) return;
    this.clock.clearTimeout(this.timer);
    this.deafen();
    this.deafen = undefined;
    this.say({ ...this.load(), state: "leaving" });
  }

  private beat(): void {
    this.say(this.load());
    this.members.look();
    this.timer = this.clock.setTimeout(() => {
      this.members.look();
      this.timer = this.clock.setTimeout(() => this.beat(), BEAT_MS - LOOK_MS);
    }, LOOK_MS);
  }

  private say(load: Load): void {
    const number = ++this.number;
    this.members.says(number);
    const direct = this.direct?.address ?? "";
    const beat = writeBeat({ version: BEAT_VERSION, ...this.identity, number, direct, ...load });
    this.bus.tell?.(TOPIC, beat);
    this.direct?.say(beat);
  }
}
