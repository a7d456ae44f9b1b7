import type { CallRecord } from "../../src/calls/record.ts";

/*
 * What the page shows of a call, worked out of what was seen of it: which state each chart is in at a moment, which
 * arrow was just taken, what was charged. All of it is a function of the items and of how many of them have happened.
 */

export interface Message {
  readonly kind: "message";
  readonly at: number;
  readonly from: string;
  readonly to: string;
  /** In a few words: `INVITE sip:wine@portal.example (SDP)`. */
  readonly label: string;
  readonly error?: boolean;
  /** Whole, with secrets masked; missing: it was not kept. */
  readonly message?: string;
}

export interface Moved {
  readonly kind: "state";
  readonly at: number;
  readonly chart: string;
  readonly actor: string;
  /** `xstate.init`: the actor begins. */
  readonly event: string;
  readonly from: string;
  readonly to: string;
  /** The relay's name for the transition. */
  readonly arrow?: string;
}

export interface Charged {
  readonly kind: "charge";
  readonly at: number;
  readonly session: string;
  /** `session.started`, `charge.made`, `credit.reserved` ... */
  readonly type: string;
  readonly text: string;
}

export interface Fired {
  readonly kind: "timer";
  readonly at: number;
  readonly session: string;
  readonly name: string;
}

export interface Ended {
  readonly kind: "end";
  readonly at: number;
  readonly text: string;
}

export type Item = Message | Moved | Charged | Fired | Ended;

/** A call as lists have it. */
export interface CallRow extends Omit<CallRecord, "kept"> {
  readonly failed?: boolean;
}

export interface BillLine {
  readonly id: string;
  readonly at: number;
  readonly session: string;
  readonly kind: string;
  readonly amount?: string;
  readonly currency?: string;
  readonly item?: string;
  readonly quantity?: string;
  readonly unitPrice?: string;
  readonly durationMs?: number;
  readonly [more: string]: unknown;
}

export interface AccountRow {
  readonly session: string;
  readonly state: string;
}

export interface CallDetail extends CallRow {
  readonly ladder?: readonly {
    readonly atMs?: number;
    readonly from: string;
    readonly to: string;
    readonly text: string;
    readonly error: boolean;
  }[];
  readonly path?: readonly {
    readonly atMs: number;
    readonly chart: string;
    readonly event: string;
    readonly from: string;
    readonly to: string;
  }[];
  readonly charges?: readonly BillLine[];
  readonly accounts?: readonly AccountRow[];
}

/** What a record says of a call of which no more was kept: arrows and transitions, without the messages. */
export function itemsOf(record: CallDetail): Item[] {
  const { id, at, ladder = [], path = [] } = record;
  let last = 0;
  const messages = ladder.map(({ atMs, from, to, text, error }): Item => {
    last = atMs ?? last;
    return { kind: "message", at: at + last, from, to, label: text, error };
  });
  const states = path.map(({ atMs, chart, event, from, to }): Item => {
    return {
      kind: "state",
      at: at + atMs,
      chart,
      actor: chart === "session" ? firstSession(record) : id,
      event,
      from,
      to,
    };
  });
  const end: Item[] = record.running ? [] : [{ kind: "end", at: at + record.wholeMs, text: endText(record) }];
  return inOrder([...messages, ...states, ...end]);
}

const firstSession = ({ asked = [], id }: CallRow): string => asked[0]?.session ?? id;

export function endText({ status, reason, endedBy, why, cost }: CallRow): string {
  const said = status === undefined ? "no answer" : `${status} ${reason ?? ""}`.trim();
  return `${said}, ended by ${endedBy ?? "?"}${cost ? `, ${cost}` : ""}${why ? ` (${why})` : ""}`;
}

/** By time; what happened at the same time stays as it came. */
export const inOrder = (items: readonly Item[]): Item[] => [...items].sort((a, b) => a.at - b.at);

/** One line of `GET /v1/events`, or of a story. Undefined: nothing that is shown. */
export function itemIn(event: string, data: unknown): Item | undefined {
  const line = data as Record<string, unknown> & { readonly text?: string };
  switch (event) {
    case "message":
    case "timer":
    case "state":
      return { ...line, kind: event } as unknown as Item;
    case "charge": {
      const { at, session, type, text = "" } = line as unknown as Charged;
      // As a line of text it begins with where it comes from, and with its type.
      const said = text.startsWith("[charges]") ? text.slice("[charges]".length).trim() : text;
      return { kind: "charge", at, session, type, text: said.startsWith(type) ? said.slice(type.length).trim() : said };
    }
    case "end":
      return {
        kind: "end",
        at: line.at as number,
        text: line.record ? endText(line.record as CallRow) : (line.text ?? ""),
      };
    default:
      return undefined;
  }
}

/** An actor of a chart at a moment. */
export interface ActorNow {
  readonly chart: string;
  readonly actor: string;
  readonly state: string;
  /** The last transition; undefined: it stands where it began. */
  readonly last: Moved | undefined;
  /** Whether that is what has just happened. */
  readonly isLatest: boolean;
}

/** Where each chart stands after the first `n` items. Actors come in the order in which they began. */
export function actorsAt(items: readonly Item[], n: number): ActorNow[] {
  const actors = new Map<string, { chart: string; actor: string; state: string; last: Moved | undefined }>();
  let latest: Moved | undefined;
  for (const item of items.slice(0, n)) {
    if (item.kind !== "state") continue;
    latest = item;
    const last = item.event === "xstate.init" ? undefined : item;
    actors.set(`${item.chart} ${item.actor}`, { chart: item.chart, actor: item.actor, state: item.to, last });
  }
  return Array.from(actors.values(), (one) => ({ ...one, isLatest: one.last !== undefined && one.last === latest }));
}

/** Those who send and receive: client, relay, then app servers as they came in. */
export function lanesOf(items: readonly Item[]): string[] {
  const lanes = ["client", "relay"];
  for (const item of items)
    if (item.kind === "message")
      for (const party of [item.from, item.to]) if (!lanes.includes(party)) lanes.push(party);
  return lanes;
}

const ADD: Readonly<Record<string, string>> = {
  "xstate.init": "begins",
  "": "at once",
};

/** What is held of a prepaid balance for each session: the last amount, until the session has ended. */
export function heldAt(items: readonly Item[]): readonly { readonly session: string; readonly amount: string }[] {
  const held = new Map<string, string>();
  for (const item of items) {
    if (item.kind !== "charge") continue;
    if (item.type === "credit.reserved") held.set(item.session, item.text);
    else if (item.type === "session.ended") held.delete(item.session);
  }
  return Array.from(held, ([session, amount]) => ({ session, amount }));
}

/** An item in words, for the time line and for those who listen to the page. */
export function wordsOf(item: Item): string {
  switch (item.kind) {
    case "message":
      return `${item.from} to ${item.to}: ${item.label}`;
    case "state":
      return `${item.chart}: ${ADD[item.event] ?? item.event}, ${item.from === item.to ? `stays ${item.to}` : item.from === "" ? item.to : `${item.from} to ${item.to}`}`;
    case "charge":
      return `${item.type} ${item.text}`.trim();
    case "timer":
      return `timer ${item.name}`;
    case "end":
      return `end: ${item.text}`;
  }
}
