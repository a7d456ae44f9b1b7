import type { SipRequest } from "../sip/message.ts";
import type { Clock, TimerHandle } from "../support/clock.ts";
import type { Logger } from "../support/log.ts";
import { PeerLog } from "../support/peer-log.ts";
import type { Random } from "../support/random.ts";
import { sourceKey } from "../support/source.ts";
import type { Timelines } from "../support/timeline.ts";
import { Challenged, type ChallengedInvite } from "./challenged.ts";
import { type CallQuery, findCalls, fits } from "./find.ts";
import { lineOf } from "./line.ts";
import { endedWithNode, type RunningRecord } from "./of-dead.ts";
import { type OpenBranch, OpenRecord, type RecordSource, type RecordTaker } from "./open-record.ts";
import { PageWriter } from "./page-writer.ts";
import type { CallKind, CallRecord, Kept } from "./record.ts";
import type { CallSettings } from "./settings.ts";
import { CallStats } from "./stats.ts";
import type { CallStore } from "./store.ts";

export interface CallRecordsOptions {
  readonly clock: Clock;
  readonly timelines: Timelines;
  readonly random: Random;
  readonly log: Logger;
  readonly settings: CallSettings;
  /** Undefined: they are only logged. */
  readonly store?: CallStore | undefined;
  /** Tells others of records of users that have ended; undefined: nobody listens. */
  readonly publish?: ((records: readonly CallRecord[]) => void) | undefined;
  /** Given each record that has ended, also of strangers; undefined: there are no traces. */
  readonly traced?: ((record: CallRecord) => void) | undefined;
  costOf(branch: OpenBranch): string | undefined;
}

/** Sees calls while they run. */
export interface CallWatcher {
  known(record: OpenRecord): void;
  /** What it has kept of a call that is over, and of one that runs. */
  ended(open: OpenRecord, record: CallRecord): Kept | undefined;
  soFar(open: OpenRecord, record: CallRecord): Kept | undefined;
}

/** How long records wait, so that they are logged and told of together and not on the path of a call. */
const GATHER_MS = 200;
/** A call that goes on is written after so long. */
const STANDING_MS = 5_000;
/** So many requests of one user that the relay itself has refused are kept in a minute; and of all users. */
const REFUSALS_PER_USER = 300;
const REFUSALS = 6_000;
const REFUSED = "a request was refused";
const STRANGER = "a stranger's request was refused";
const NOT_AGAIN = "it was challenged, and did not come again with credentials";

/**
 * The records of requests (P5): one line in the log for each that has ended, and a record in the store. What peers can
 * cause as often as they like is bounded, with a count of what was left out: refusals before sign-in for each source,
 * and what the relay refuses a user.
 */
export class CallRecords implements RecordTaker {
  /** Requests, and sessions of them, that have not ended. */
  open = 0;
  /** Refusals that left no record, because there were too many. */
  leftOut = 0;
  /** Who keeps what is seen of calls; undefined: nobody. */
  watcher: CallWatcher | undefined;
  /** In a cluster: told of an INVITE whose credentials were checked here. Another node may have challenged it. */
  checkedHere: ((request: SipRequest) => void) | undefined;
  readonly stats = new CallStats();
  private readonly options: CallRecordsOptions;
  private readonly refusals: PeerLog;
  private readonly strangers: PeerLog;
  private readonly writer: PageWriter | undefined;
  private readonly challenged = new Challenged((invite) => this.notAgain(invite));
  private ready: OpenRecord[] = [];
  private timer: TimerHandle | undefined;
  /** Answered, and not written yet: most end before they need to be. */
  private standing: OpenRecord[] = [];
  private standingTimer: TimerHandle | undefined;

  constructor(options: CallRecordsOptions) {
    this.options = options;
    const { log, clock, store, settings } = options;
    this.refusals = new PeerLog({ log, clock, perSource: REFUSALS_PER_USER, perKind: REFUSALS });
    this.strangers = new PeerLog({ log, clock });
    this.writer = store && new PageWriter({ store, clock, log, settings });
  }

  /** Records that could not be stored. */
  get lost(): number {
    return this.writer?.lost ?? 0;
  }

  get stored(): number {
    return this.writer?.stored ?? 0;
  }

  begin(kind: CallKind, request: SipRequest, source: RecordSource): OpenRecord {
    this.open++;
    return new OpenRecord(this, kind, this.options.timelines.latest, request, source);
  }

  /** A session that an earlier process had goes on: its record is joined with the beginning when it is read. */
  resume(callId: string): OpenRecord {
    this.open++;
    return new OpenRecord(this, "invite", this.options.timelines.latest, undefined, undefined, callId);
  }

  /** A stranger's request was answered without a transaction, and nothing more was seen of it. */
  refused(request: SipRequest, source: RecordSource, status: number, reason: string, why: string): void {
    if (!this.mayTell(source.remoteAddress)) return;
    const kind = request.method === "REFER" ? "refer" : request.toTag === undefined ? "invite" : "change";
    const record = this.begin(kind, request, source);
    record.wasRefused(status, reason, why);
    this.open--;
    this.queue(record);
  }

  /** An INVITE got a challenge, and nothing is kept of it unless its sender does not come again. */
  wasChallenged(request: SipRequest, source: RecordSource): void {
    const { clock, timelines } = this.options;
    this.challenged.note(request, source, timelines.latest, clock.monotonic());
  }

  /** An INVITE of that Call-ID came with credentials. */
  cameAgain(callId: string): void {
    this.challenged.cameAgain(callId);
  }

  private notAgain({ request, source, timeline, at }: ChallengedInvite): void {
    if (!this.mayTell(source.remoteAddress)) return;
    const record = new OpenRecord(this, "invite", timeline, request, source, "", at);
    record.wasRefused(401, "Unauthorized", NOT_AGAIN);
    this.queue(record);
  }

  known(record: OpenRecord): void {
    this.watcher?.known(record);
  }

  newId(): string {
    return this.options.random.token(96);
  }

  costOf(branch: OpenBranch): string | undefined {
    return this.options.costOf(branch);
  }

  answered(record: OpenRecord): void {
    this.standing.push(record);
    this.standingTimer ??= this.options.clock.setTimeout(() => this.lookAtStanding(), STANDING_MS);
  }

  forgotten(): void {
    this.open--;
  }

  /** What is known of it is written now: another process writes the rest. */
  wentElsewhere(record: OpenRecord): void {
    this.open--;
    this.writer?.add(record.toRecord());
  }

  ended(record: OpenRecord): void {
    this.open--;
    const { user } = record;
    if (user === "") {
      if (!this.mayTell(record.address)) return;
    } else if (record.branches.length === 0 && record.status >= 300 && !this.refusals.takes("info", REFUSED, user)) {
      this.leftOut++;
      return;
    }
    this.queue(record);
  }

  /** Puts on record how a request ended whose node is dead; see `endedWithNode`. */
  endedWithNode(running: RunningRecord, status?: number, reason?: string): void {
    const record = endedWithNode(running, this.options.timelines.latest.now(), status, reason);
    this.tellOf(record);
    if (record.user !== undefined) this.options.publish?.([record]);
  }

  /** Writes those that go on, so that their beginning is known if this process does not see their end. */
  private lookAtStanding(): void {
    this.standingTimer = undefined;
    const { standing } = this;
    this.standing = [];
    for (const record of standing) if (!record.hasEnded) this.writer?.add(record.toRecord());
  }

  private mayTell(address: string): boolean {
    if (this.strangers.takes("info", STRANGER, sourceKey(address))) return true;
    this.leftOut++;
    return false;
  }

  private queue(record: OpenRecord): void {
    this.ready.push(record);
    this.timer ??= this.options.clock.setTimeout(() => this.flush(), GATHER_MS);
  }

  /** Logs what has ended, tells others, and hands it on to the store. */
  private flush(): void {
    this.timer = undefined;
    const { publish } = this.options;
    const ready = this.ready;
    this.ready = [];
    const ended: CallRecord[] = [];
    for (const open of ready) {
      const plain = open.toRecord();
      const kept = this.watcher?.ended(open, plain);
      const record = kept ? { ...plain, kept } : plain;
      this.tellOf(record, plain);
      if (record.user !== undefined) ended.push(record);
    }
    if (ended.length > 0) publish?.(ended);
  }

  private tellOf(record: CallRecord, plain = record): void {
    const { log } = this.options;
    this.stats.add(plain);
    this.options.traced?.(plain);
    this.writer?.add(record);
    if (log.isLevelEnabled("info")) log.info(lineOf(record), textOf(record));
  }

  /** `live`: the records of what is under way now. `elsewhere`: what other nodes have that is not in the store yet. */
  find(query: CallQuery, live: Iterable<OpenRecord>, elsewhere: readonly CallRecord[] = []): Promise<CallRecord[]> {
    const own = this.present(query, live);
    const ids = new Set(own.map(({ id }) => id));
    return findCalls(this.options.store, [...own, ...elsewhere.filter(({ id }) => !ids.has(id))], query);
  }

  /** Those of them that fit and that are not in the store yet, or may not be. */
  present(query: CallQuery, live: Iterable<OpenRecord>): CallRecord[] {
    this.challenged.look(this.options.clock.monotonic());
    const present = new Map<string, CallRecord>();
    for (const open of [...live, ...this.ready]) {
      const record = open.toRecord();
      const kept = this.watcher?.soFar(open, record);
      present.set(open.name, kept ? { ...record, kept } : record);
    }
    for (const record of this.writer?.waiting ?? []) if (!present.has(record.id)) present.set(record.id, record);
    return [...present.values()].filter((record) => record.resumed || fits(record, query));
  }

  /** Writes what waits. Resolves when it is in the store, or cannot be. */
  async close(): Promise<void> {
    this.challenged.close();
    this.options.clock.clearTimeout(this.timer);
    this.options.clock.clearTimeout(this.standingTimer);
    this.flush();
    this.lookAtStanding();
    this.refusals.close();
    this.strangers.close();
    await this.writer?.close();
  }
}

const textOf = ({ user, status = 0 }: CallRecord): string => {
  if (user === undefined) return STRANGER;
  return status >= 300 ? "call failed" : "call ended";
};
