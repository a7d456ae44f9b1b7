import { count, fields, oneOf, optional, written } from "../charging/events/field-checks.ts";
import { isNodeName } from "../charging/events/session-ids.ts";
import { readJson } from "../support/json.ts";
import { err, ok, type Result } from "../support/result.ts";

/*
 * What each node tells the others of itself, ten times a second (P3). It goes over NATS core, which keeps nothing. A
 * node that is not heard for a while is gone.
 */

export const BEAT_VERSION = 1;

export interface Beat {
  readonly version: typeof BEAT_VERSION;
  /** The node's name, as it stands in the ids of its sessions. */
  readonly node: string;
  /** Grows with each start of the node. */
  readonly epoch: number;
  /** Grows with each beat of an epoch. */
  readonly number: number;
  /** The machine's name, for people. */
  readonly host: string;
  /** The zone, such as a data centre: nodes in it fail together. "": the configuration names none. */
  readonly zone: string;
  /** The version of Tollgate. */
  readonly release: string;
  readonly state: BeatState;
  /** Where it hears beats that do not go over NATS: host:port; "" or missing: it does not. */
  readonly direct?: string;
  readonly sessions: number;
  /** Requests for sessions that are not answered yet. */
  readonly requests: number;
  /** Sessions of other nodes of which this one keeps a copy. */
  readonly standbys: number;
  /** How many milliseconds the copies of its own sessions are behind. */
  readonly lagMs: number;
  /** For how much of the time since the last beat the event loop was busy, in percent. */
  readonly busy: number;
  /** How long the others are to wait for this node before they call it dead. Missing: `DEAD_MS`. */
  readonly patienceMs?: number;
  /** Nobody calls a node dead without the witness, as far as this node has a say. */
  readonly witness?: boolean;
  /** What it has heard of each of the others (`Heard`). Missing: it does not say, or there are too many. */
  readonly heard?: string;
}

/** What a node has heard of another one. */
export interface Heard extends NodeRun {
  /** The number of the last beat. */
  readonly number: number;
  /** The number of the record by which it wants to call that run dead, or wanted to; 0: it never did. */
  readonly voted: number;
  /** How often it has called that run dead. */
  readonly deaths: number;
}

/** More are not said, so that a node of an earlier version can read the beat. */
const MOST_HEARD_CHARS = 3_000;
const HEARD = /^[0-9a-z:,]{0,3000}$/;
const RADIX = 36;

/** Undefined: it would be too long. */
export function writeHeard(all: readonly Heard[]): string | undefined {
  const text = all
    .map(({ node, epoch, number, voted, deaths }) =>
      [node, ...[epoch, number, voted, deaths].map((value) => value.toString(RADIX))].join(":"),
    )
    .join(",");
  return text.length <= MOST_HEARD_CHARS ? text : undefined;
}

/** What it says of that node's run; undefined: nothing. */
export function heardOf(heard: string | undefined, { node, epoch }: NodeRun): Heard | undefined {
  if (heard === undefined) return undefined;
  const head = `${node}:${epoch.toString(RADIX)}:`;
  const at = heard.startsWith(head) ? 0 : heard.indexOf(`,${head}`) + 1;
  if (at === 0 && !heard.startsWith(head)) return undefined;
  const end = heard.indexOf(",", at);
  const [number, voted, deaths] = heard
    .slice(at + head.length, end < 0 ? undefined : end)
    .split(":")
    .map((value) => Number.parseInt(value, RADIX));
  if (!Number.isSafeInteger(number) || !Number.isSafeInteger(voted) || !Number.isSafeInteger(deaths)) return undefined;
  return { node, epoch, number: number!, voted: voted!, deaths: deaths! };
}

/** One run of a node: which node, and which of its starts. */
export type NodeRun = Pick<Beat, "node" | "epoch">;

/** `draining`: takes no new sessions. `leaving`: its last beat. */
export type BeatState = "up" | "draining" | "leaving";

const LARGEST = Number.MAX_SAFE_INTEGER;
const line = written(/^[\x20-\x7e]{0,100}$/, "at most 100 characters of printable ASCII");

const check = fields<Beat>({
  version: (value) => (value === BEAT_VERSION ? undefined : `must be ${BEAT_VERSION}`),
  node: (value) => (typeof value === "string" && isNodeName(value) ? undefined : "must be a node's name"),
  epoch: count(LARGEST),
  number: count(LARGEST),
  host: line,
  zone: line,
  release: line,
  direct: optional(written(/^([\w.-]{1,100}|\[[0-9A-Fa-f:.]{2,50}\]):\d{1,5}$|^$/, "host:port")),
  state: oneOf("up" satisfies BeatState, "draining" satisfies BeatState, "leaving" satisfies BeatState),
  sessions: count(LARGEST),
  requests: count(LARGEST),
  standbys: count(LARGEST),
  lagMs: count(LARGEST),
  busy: count(100),
  patienceMs: optional(count(LARGEST)),
  witness: optional((value) => (typeof value === "boolean" ? undefined : "must be true or false")),
  heard: optional(written(HEARD, "what was heard of each node")),
});

/** Longer than any beat of this version, since a node of a later version may say more. */
const MAX_CHARS = 4_096;

export const writeBeat = (beat: Beat): string => JSON.stringify(beat);

/** Reads a text that may come from anybody. Unknown fields are left out. The error says what is wrong. */
export function readBeat(text: string): Result<Beat, string> {
  if (text.length > MAX_CHARS) return err("it is too long");
  const read = readJson(text, 2);
  if (!read.ok) return read;
  const problem = check(read.value);
  if (problem !== undefined) return err(problem);
  const { version, node, epoch, number, host, zone, release, state, direct = "", ...load } = read.value as Beat;
  const { sessions, requests, standbys, lagMs, busy, patienceMs, witness, heard } = load;
  return ok({
    version,
    node,
    epoch,
    number,
    host,
    zone,
    release,
    state,
    direct,
    sessions,
    requests,
    standbys,
    lagMs,
    busy,
    ...(patienceMs !== undefined && { patienceMs }),
    ...(witness !== undefined && { witness }),
    ...(heard !== undefined && { heard }),
  });
}
