import type { Bus } from "../bus/types.ts";
import type { CallQuery } from "../calls/find.ts";
import type { CallRecord } from "../calls/record.ts";
import { readSessionId } from "../charging/events/session-ids.ts";
import type { MemberView } from "../cluster/member-view.ts";
import type { Clock } from "../support/clock.ts";
import type { PeerLog } from "../support/peer-log.ts";
import type { Random } from "../support/random.ts";
import { added, type Figures } from "./figures.ts";
import {
  ANSWER_BYTES,
  type Look,
  type Looked,
  MOST_CALLS,
  readLook,
  readLooked,
  SESSIONS_PER_ANSWER,
  type StoryLines,
  writeLook,
  writeLooked,
} from "./looks.ts";
import type { Metrics } from "./metrics.ts";
import type { SessionView } from "./session-view.ts";
import type { TracesHere } from "./traces-here.ts";

/** What one node has. */
export interface Here {
  /** Those after that id, in the order of their ids. */
  sessions(after: string, most: number): readonly SessionView[];
  /** False: there is none of that id here. */
  endSession(id: string): boolean;
  /** What this node has and the store does not have yet. */
  present(query: CallQuery): readonly CallRecord[];
  /** These, the store's, and those of other nodes. */
  calls(query: CallQuery, elsewhere: readonly CallRecord[]): Promise<CallRecord[]>;
  story(call: string): StoryLines | undefined;
  readonly traces: TracesHere;
  metrics(): Metrics;
}

/** Nodes of which not all is known: they did not answer in time, or not as they must. */
export interface Missing {
  readonly missing: readonly string[];
}

export interface EverywhereOptions {
  /** "": the relay is alone. */
  readonly node: string;
  readonly here: Here;
  readonly bus: Pick<Bus, "ask" | "keys">;
  readonly clock: Pick<Clock, "wall" | "monotonic">;
  readonly random: Random;
  readonly peerLog: Pick<PeerLog, "warn">;
  /** The other nodes that have calls. */
  readonly others: () => readonly string[];
}

const ANSWER_WITHIN_MS = 1_000;
/** All answers of one node together, where it takes more than one. */
const WHOLE_WITHIN_MS = 3_000;
/** Nodes that are asked; further ones are missing. */
const MOST_NODES = 64;
/** Sessions that are listed, of all nodes together. */
const MOST_SESSIONS = 200_000;
const EVERYTHING = Number.MAX_SAFE_INTEGER;

/** Nodes that may have calls: not those that have left, nor those whose sessions others have taken up. */
export const livingOthers = (nodes: readonly Pick<MemberView, "node" | "self" | "state">[]): string[] =>
  nodes.filter(({ self, state }) => !self && state !== "left" && state !== "dead").map(({ node }) => node);

/** What all nodes of the cluster have, at whichever of them it is asked for. Nothing here rejects for another node. */
export class Everywhere {
  private readonly options: EverywhereOptions;

  constructor(options: EverywhereOptions) {
    this.options = options;
  }

  /** In the order in which they began. */
  async sessions(): Promise<{ readonly sessions: SessionView[] } & Missing> {
    const { here, node } = this.options;
    const sessions = here.sessions("", EVERYTHING).map((view) => named(view, node));
    const missing = await this.eachOther(async (other) => {
      const until = this.options.clock.monotonic() + WHOLE_WITHIN_MS;
      for (let after = ""; ; ) {
        const page = await this.ask(other, { kind: "sessions", after });
        if (!page) return false;
        const { sessions: views, more } = page;
        if (sessions.length + views.length > MOST_SESSIONS) return false;
        for (const view of views) sessions.push(named(view, other));
        if (!more) return true;
        const last = views.at(-1)?.id ?? "";
        if (last <= after || this.options.clock.monotonic() >= until) return false;
        after = last;
      }
    });
    return { sessions: onlyOnce(sessions), missing };
  }

  /** Has the session ended by whichever node has it. */
  async endSession(id: string): Promise<{ readonly ended: boolean } & Missing> {
    if (this.options.here.endSession(id)) return { ended: true, missing: [] };
    const maker = readSessionId(id)?.node;
    const others = this.options.others();
    if (maker !== undefined && others.includes(maker) && (await this.ask(maker, { kind: "end", session: id }))?.ended)
      return { ended: true, missing: [] };
    let ended = false;
    const missing = await this.eachOther(async (other) => {
      const said = await this.ask(other, { kind: "end", session: id });
      ended ||= said?.ended === true;
      return said !== undefined;
    });
    return { ended, missing };
  }

  /** The newest that fit, the oldest of them first. */
  async calls(query: CallQuery): Promise<{ readonly calls: CallRecord[] } & Missing> {
    const elsewhere: CallRecord[] = [];
    const asked = { ...query, most: Math.min(query.most, MOST_CALLS) };
    const missing = await this.eachOther(async (other) => {
      const said = await this.ask(other, { kind: "calls", query: asked });
      elsewhere.push(...(said?.calls ?? []));
      return said?.more === false;
    });
    return { calls: await this.options.here.calls(query, elsewhere), missing };
  }

  /** `call`: the id of its record. */
  async story(call: string): Promise<{ readonly story: StoryLines | undefined } & Missing> {
    let story = this.options.here.story(call);
    if (story) return { story, missing: [] };
    const missing = await this.eachOther(async (other) => {
      const said = await this.ask(other, { kind: "story", call });
      story ??= said?.story ?? undefined;
      return said !== undefined;
    });
    return { story, missing };
  }

  /** What this node counts, and what all nodes do, added up. */
  async figures(): Promise<{ readonly own: Metrics; readonly figures: Figures; readonly nodes: number } & Missing> {
    const own = this.options.here.metrics();
    const all: Figures[] = [own];
    const missing = await this.eachOther(async (other) => {
      const said = await this.ask(other, { kind: "figures" });
      if (said) all.push(said);
      return said !== undefined;
    });
    return { own, figures: added(all), nodes: all.length, missing };
  }

  /** Answers another node; undefined: it is no question of this kind. */
  answer(text: string): string | undefined {
    const { node, clock, bus, peerLog } = this.options;
    const asked = readLook(bus, text, { node, clock });
    if (!asked) return undefined;
    const { nonce, from, look } = asked;
    const looked = this.look(look);
    if (look.kind === "end" && (looked as Looked["end"]).ended)
      peerLog.warn("cluster: an operator at another node has ended a session", from, { session: look.session });
    if (look.kind === "start-trace")
      peerLog.warn("cluster: an operator at another node traces calls", from, { trace: look.name, hep: look.hep });
    return writeLooked(bus, nonce, looked);
  }

  private look(look: Look): Looked[Look["kind"]] {
    const { here } = this.options;
    switch (look.kind) {
      case "sessions": {
        const found = here.sessions(look.after, SESSIONS_PER_ANSWER + 1);
        const sessions = firstFitting(found, SESSIONS_PER_ANSWER);
        return { sessions, more: sessions.length < found.length };
      }
      case "end":
        return { ended: here.endSession(look.session) };
      case "calls": {
        // A list shows no messages.
        const found = here
          .present(look.query)
          .map(({ kept, ...record }) => (look.query.any !== undefined && kept ? { ...record, kept } : record));
        const calls = firstFitting(found, MOST_CALLS);
        return { calls, more: calls.length < found.length };
      }
      case "figures":
        return here.metrics();
      case "start-trace":
        return { why: here.traces.start(look) ?? null };
      case "stop-trace":
        return { was: here.traces.stop(look.name, look.drop) };
      case "traces":
        return { traces: here.traces.list() };
      case "traced":
        return here.traces.page(look.name, look.after);
      case "story": {
        const story = here.story(look.call);
        if (!story) return { story: null };
        const items = firstFitting(story.items, story.items.length);
        return { story: { items, leftOut: story.leftOut + story.items.length - items.length } };
      }
    }
  }

  /**
   * Asks all other nodes at once, and resolves to the names of those of which `work` says that something is missing.
   */
  async eachOther(work: (node: string) => Promise<boolean>): Promise<string[]> {
    const others = this.options.others();
    const whole = await Promise.all(others.slice(0, MOST_NODES).map(work));
    return others.filter((_, i) => whole[i] !== true).sort();
  }

  /** Asks one node. Undefined: no answer, or none that is right. */
  async ask<K extends Look["kind"]>(node: string, look: Extract<Look, { kind: K }>): Promise<Looked[K] | undefined> {
    const { bus, clock, random, peerLog, node: from } = this.options;
    const nonce = random.token();
    const question = writeLook(bus, { nonce, to: node, from, at: clock.wall() }, look);
    const answer = await bus.ask?.(node, question, ANSWER_WITHIN_MS).catch(() => undefined);
    if (answer === undefined) return undefined;
    const looked = readLooked(bus, answer, { nonce, kind: look.kind as K });
    if (!looked) peerLog.warn("cluster: a node's answer cannot be read", node, { asked: look.kind });
    return looked;
  }
}

const named = (view: SessionView, node: string): SessionView => (node === "" ? view : { ...view, node });

/** In the order of their ids. A session that goes from node to node may be with both; this node's own come first. */
function onlyOnce(sessions: readonly SessionView[]): SessionView[] {
  const byId = new Map<string, SessionView>();
  for (const view of sessions) if (!byId.has(view.id)) byId.set(view.id, view);
  return [...byId.values()].sort((a, b) => (a.id < b.id ? -1 : 1));
}

/** The first of them that go into one answer. */
function firstFitting<T extends object>(all: readonly T[], most: number): T[] {
  const fitting: T[] = [];
  let bytes = 0;
  for (const one of all) {
    bytes += Buffer.byteLength(JSON.stringify(one)) + 1;
    if (bytes > ANSWER_BYTES || fitting.length >= most) break;
    fitting.push(one);
  }
  return fitting;
}
