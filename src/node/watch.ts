import type { AnyStateMachine } from "xstate";
import type { OpenRecord } from "../calls/open-record.ts";
import type { CallRecord, Kept } from "../calls/record.ts";
import type { AccountMove } from "../charging/billing/account.ts";
import type { ChargingEvent } from "../charging/events/events.ts";
import type { ChartActor, Inspector, Taken } from "../chart/actor.ts";
import { stateText } from "../chart/state-text.ts";
import type { Core } from "../relay/model/core.ts";
import type { Recorder } from "../relay/model/ports.ts";
import { sessionOf } from "../relay/model/session-names.ts";
import type { SipMessage } from "../sip/message.ts";
import { detach } from "../sip/text.ts";
import { type TimerHandle, unref } from "../support/clock.ts";
import { shown } from "../support/peer-log.ts";
import { eventLine } from "../trace/event-lines.ts";
import { keptOf } from "../trace/kept.ts";
import type { Story } from "../trace/story.ts";
import type { Viewer } from "../trace/watching.ts";
import { UNKNOWN_LEG, Watching } from "../trace/watching.ts";
import type { Tap, Tapped, Transports } from "../transport/layer.ts";
import type { StoryLines } from "./looks.ts";

/** `auto`: messages are kept of each call as long as there are few of them. */
export type KeepMessages = "auto" | "always" | "never";

/** With `auto`, messages a second up to which they are kept, and how long to wait before it is tried again. */
const FEW = 400;
const AGAIN_MS = 30_000;
const MAX_TEXT = 160;

/**
 * Connects what happens in a relay with those who look at it: the transports' messages, the charts' transitions, the
 * events of charging, timers. Nothing is connected while nobody looks and nothing is kept, and then it costs nothing.
 */
export class RelayWatch {
  readonly watching = new Watching();
  private readonly core: Core;
  private readonly transport: Transports;
  private readonly recorder: WatchedRecorder;
  private readonly mode: KeepMessages;
  private connected = false;
  /** Who saw messages before. */
  private tapBefore: Tap | undefined;
  /** When the present second ends, and how many messages it has had. */
  private secondEndsAt = 0;
  private inSecond = 0;
  private timer: TimerHandle | undefined;

  constructor(core: Core, transport: Transports, recorder: WatchedRecorder, mode: KeepMessages) {
    this.core = core;
    this.recorder = recorder;
    this.transport = transport;
    this.mode = mode;
  }

  start(): void {
    if (this.mode !== "never") this.connect();
  }

  stop(): void {
    this.core.clock.clearTimeout(this.timer);
    this.disconnect();
  }

  /** Returns how to end it. */
  watch(viewer: Viewer): () => void {
    const end = this.watching.watch(viewer);
    this.connect();
    return () => {
      end();
      if (!this.watching.isWatched && this.mode === "never") this.disconnect();
    };
  }

  private connect(): void {
    if (this.connected) return;
    this.connected = true;
    const { core } = this;
    this.tapBefore = this.transport.tap;
    this.transport.tap = this.sawMessage;
    core.inspectors.add(this.sawChart);
    core.timers.fired = this.sawTimer;
    this.recorder.saw = this.sawEvent;
    core.calls.watcher = this;
  }

  private disconnect(): void {
    if (!this.connected) return;
    this.connected = false;
    const { core } = this;
    this.transport.tap = this.tapBefore;
    core.inspectors.delete(this.sawChart);
    core.timers.fired = undefined;
    this.recorder.saw = undefined;
    core.calls.watcher = undefined;
    this.watching.clear();
  }

  // --- of the records ---

  known(record: OpenRecord): void {
    this.watching.known(record);
  }

  /** What is kept with the record. */
  ended(open: OpenRecord, record: CallRecord): Kept | undefined {
    const story = this.watching.ended(open, record);
    return story && keptOf(story.items, record.at);
  }

  /** The same of a call that runs. */
  soFar(open: OpenRecord, record: CallRecord): Kept | undefined {
    const story = this.watching.storyFor(open);
    return story && keptOf(story.items, record.at);
  }

  /** What was seen of that call, messages included: of one that runs, or has ended lately. `id`: of its record. */
  storyOf(id: string): Story | undefined {
    return this.watching.storyNamed(id);
  }

  /** For billing, where it is in the same process: who sees how accounts move; undefined: nobody. */
  get sawAccount(): ((move: AccountMove) => void) | undefined {
    return this.connected ? this.accountMoved : undefined;
  }

  private readonly accountMoved = ({ session, ...move }: AccountMove): void => {
    const at = this.core.timelines.latest.now();
    this.watching.happenedTo(session, { kind: "state", at, chart: "billing", actor: session, ...move });
  };

  // --- what is seen ---

  private readonly sawMessage = (tapped: Tapped): void => {
    this.tapBefore?.(tapped);
    if (this.isTooMuch()) return;
    const { direction, message, at, bytes, local, flow } = tapped;
    const { callId } = message;
    const { record, leg } = this.whose(message);
    const { transport, remoteAddress: address, remotePort: port } = flow;
    const peer = { transport, address, port };
    this.watching.message(
      { kind: "message", at, direction, local, peer, leg, callId: detach(callId), bytes: Buffer.from(bytes) },
      record,
    );
  };

  /** With `auto`, keeping ends while there are many messages, unless somebody looks. */
  private isTooMuch(): boolean {
    if (this.mode !== "auto" || this.watching.isWatched) return false;
    const { clock } = this.core;
    const now = clock.monotonic();
    if (now >= this.secondEndsAt) {
      this.secondEndsAt = now + 1_000;
      this.inSecond = 0;
    }
    if (++this.inSecond <= FEW) return false;
    this.disconnect();
    this.timer = clock.setTimeout(() => this.connect(), AGAIN_MS);
    unref(this.timer);
    return true;
  }

  /** Whose call a message belongs to: by the relay's own Call-ID, or by the tag that the relay has put into it. */
  private whose(message: SipMessage): { record: OpenRecord | undefined; leg: string } {
    const { sessions, legs } = this.core;
    const { callId, toTag, fromTag } = message;
    const id = sessionOf(callId);
    if (id !== undefined) {
      const session = sessions.get(id);
      return { record: session?.branch?.record, leg: session?.appServer.id ?? UNKNOWN_LEG };
    }
    const leg =
      (toTag === undefined ? undefined : legs.get(toTag)) ?? (fromTag === undefined ? undefined : legs.get(fromTag));
    return { record: leg?.session.branch?.record, leg: leg?.side === "server" ? leg.session.appServer.id : "client" };
  }

  private readonly sawChart: Inspector = (inspected) => {
    if (inspected.type !== "@xstate.snapshot") return;
    const { transitions } = inspected as unknown as Taken;
    const actor = inspected.actorRef as unknown as ChartActor<AnyStateMachine>;
    const { record } = actor.owner as { readonly record?: OpenRecord };
    if (!record) return;
    const at = this.core.timelines.latest.now();
    const about = { kind: "state", at, chart: actor.logic.id, actor: actor.id } as const;
    if (inspected.event.type === "xstate.init")
      this.watching.happened(record, {
        ...about,
        event: "xstate.init",
        from: "",
        to: stateText(actor.getSnapshot().value),
      });
    for (const { id: arrow, from, event, to = from } of transitions)
      this.watching.happened(record, { ...about, event, from, to, arrow });
  };

  private readonly sawTimer = (owner: object, name: string): void => {
    const { session } = owner as { readonly session?: { readonly id: string; readonly record?: OpenRecord } };
    if (!session?.record) return;
    const at = this.core.timelines.latest.now();
    this.watching.happened(session.record, { kind: "timer", at, session: session.id, name });
  };

  private readonly sawEvent = (event: ChargingEvent): void => {
    const { at, type, session } = event;
    const running = this.core.sessions.get(session.id) as { readonly record?: OpenRecord } | undefined;
    if (!running?.record) return;
    this.watching.happened(running.record, { kind: "charge", at, session: session.id, type, text: factsOf(event) });
  };
}

/** A story as lines of `/v1/events`, secrets masked. */
export function linesOf({ record, items, leftOut }: Pick<Story, "record" | "items" | "leftOut">): StoryLines {
  const { name: call, user, service } = record;
  return { items: items.map((item) => eventLine(item, { call, user, service }, true)), leftOut };
}

/** What an event says besides session and time. */
function factsOf(event: ChargingEvent): string {
  switch (event.type) {
    case "session.ended":
      return `after ${event.durationMs} ms by ${shown(event.endedBy)}`;
    case "charge.made": {
      const { item, quantity, unitPrice } = event.charge;
      return shown(`${quantity} x ${item} at ${unitPrice}`, MAX_TEXT);
    }
    case "charge.refused":
      return shown(event.reason, MAX_TEXT);
    case "credit.reserved":
      return `${event.amount} ${event.currency}`;
    default:
      return "";
  }
}

/** Puts on record, and shows what it does to whoever looks. */
export class WatchedRecorder implements Recorder {
  /** Undefined: nobody looks. */
  saw: ((event: ChargingEvent) => void) | undefined;
  private readonly recorder: Recorder;

  constructor(recorder: Recorder) {
    this.recorder = recorder;
  }

  append(event: ChargingEvent): Promise<void> {
    const recorded = this.recorder.append(event);
    this.saw?.(event);
    return recorded;
  }

  get full(): boolean {
    return this.recorder.full;
  }
}
