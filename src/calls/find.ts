import { type CallRecord, isFailure, joined } from "./record.ts";
import type { CallPageQuery, CallStore } from "./store.ts";

/** Which records are wanted. Every condition that is given must hold. */
export interface CallQuery {
  readonly callId?: string;
  readonly user?: string;
  /** The sender did not get what it asked for. */
  readonly failed?: boolean;
  /** Ended since then, or not yet; milliseconds since 1970. */
  readonly since?: number;
  /** The id of a record (or its first 6 characters or more), of a call, of a session; or a Call-ID. */
  readonly any?: string;
  /** The requests of strangers, in place of those of users. */
  readonly strangers?: boolean;
  /** Those that come after this one when the newest stand first. */
  readonly before?: { readonly endedAt: number; readonly id: string };
  /** The newest so many. */
  readonly most: number;
}

/** The shortest beginning of an id that is looked for. */
export const SHORTEST_ID = 6;

/** By what a record is looked up in the store, beside its time. */
export function tagsOf({ id, call, callId, user, within, asked = [] }: CallRecord): string[] {
  const tags = [id, callId];
  if (call !== undefined && call !== id) tags.push(call);
  if (user !== undefined) tags.push(userTag(user));
  for (const one of within ? [within, ...asked] : asked) {
    tags.push(one.session);
    if (one.callId !== undefined) tags.push(one.callId);
  }
  return tags;
}

const userTag = (user: string): string => `user:${user}`;

/**
 * The newest records that fit, oldest first. `present`: those that the process itself still has, in any order; a record
 * there counts in place of one in the store.
 */
export async function findCalls(
  store: CallStore | undefined,
  present: Iterable<CallRecord>,
  query: CallQuery,
): Promise<CallRecord[]> {
  const found = new Map<string, CallRecord>();
  /** Ends whose beginning is further back. */
  const ends = new Map<string, CallRecord>();
  const take = (record: CallRecord): void => {
    const end = ends.get(record.id);
    if (end && !record.resumed) {
      ends.delete(record.id);
      const whole = joined(record, end);
      if (fits(whole, query)) found.set(record.id, whole);
      else found.delete(record.id);
      return;
    }
    if (found.has(record.id) || !fits(record, query)) return;
    found.set(record.id, record);
    if (record.resumed) ends.set(record.id, record);
  };
  for (const record of [...present].sort((a, b) => endOf(b) - endOf(a))) take(record);
  if (store) await search(store, query, take, () => found.size >= query.most && ends.size === 0);
  const newest = [...found.values()].sort(byEnd).slice(0, query.most);
  return newest.sort((a, b) => a.at - b.at);
}

async function search(
  store: CallStore,
  query: CallQuery,
  take: (record: CallRecord) => void,
  isEnough: () => boolean,
): Promise<void> {
  const { since, strangers } = query;
  const needle = needleOf(query);
  const tag = query.callId ?? query.any ?? (query.user === undefined ? undefined : userTag(query.user));
  const which: CallPageQuery = {
    ring: strangers ? "strangers" : "users",
    ...(since !== undefined && { since }),
    ...(tag !== undefined && { tag }),
  };
  for await (const text of store.pages(which)) {
    // Most pages have nothing that is looked for: a search in the text is far cheaper than reading the JSON.
    if (needle !== undefined && !text.includes(needle)) continue;
    const lines = text.split("\n");
    for (let i = lines.length - 1; i >= 0; i--) {
      const line = lines[i]!;
      if (line === "" || (needle !== undefined && !line.includes(needle))) continue;
      const record = readRecord(line);
      if (record) take(record);
    }
    if (isEnough()) return;
  }
}

function needleOf({ callId, any, user }: CallQuery): string | undefined {
  const text = callId ?? any ?? user;
  return text === undefined ? undefined : JSON.stringify(text).slice(1, -1);
}

function readRecord(line: string): CallRecord | undefined {
  try {
    return JSON.parse(line) as CallRecord;
  } catch {
    return undefined; // a later version may write something else
  }
}

/** The newest first. */
export const byEnd = (a: CallRecord, b: CallRecord): number => endOf(b) - endOf(a) || (a.id < b.id ? 1 : -1);

/** When it ended, milliseconds since 1970; what runs counts as ending after all others. */
export const endOf = ({ at, wholeMs, running }: CallRecord): number =>
  running ? Number.MAX_SAFE_INTEGER : at + wholeMs;

export function fits(record: CallRecord, query: CallQuery): boolean {
  const { callId, user, failed, since, any, strangers, before } = query;
  if (before && !isAfter(record, before)) return false;
  if (strangers !== undefined && strangers !== (record.user === undefined)) return false;
  if (user !== undefined && record.user !== user) return false;
  if (failed && !isFailure(record)) return false;
  if (since !== undefined && endOf(record) < since) return false;
  if (callId !== undefined && !hasCallId(record, callId)) return false;
  return any === undefined || isNamed(record, any);
}

const isAfter = (record: CallRecord, { endedAt, id }: NonNullable<CallQuery["before"]>): boolean =>
  endOf(record) < endedAt || (endOf(record) === endedAt && record.id < id);

const hasCallId = ({ callId, within, asked = [] }: CallRecord, wanted: string): boolean =>
  callId === wanted || within?.callId === wanted || asked.some((one) => one.callId === wanted);

function isNamed(record: CallRecord, name: string): boolean {
  const { id, call, within, asked = [] } = record;
  if (id === name || call === name || within?.session === name || hasCallId(record, name)) return true;
  return (name.length >= SHORTEST_ID && id.startsWith(name)) || asked.some(({ session }) => session === name);
}
