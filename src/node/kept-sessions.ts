import { type BookState, chargeStateOf } from "../charging/charges/book-state.ts";
import { chargeKey } from "../charging/events/charge-fields.ts";
import type { ChargeMade, ChargingEvent } from "../charging/events/events.ts";
import type { KeptChanges } from "../charging/journal/file.ts";
import type { Companion } from "../charging/journal/journal.ts";
import type { Core, SessionPort as Session, SessionKeeper } from "../relay/model/core.ts";
import { checkSessionState, type SessionState } from "../relay/model/session-state.ts";
import { snapshot } from "../relay/session/snapshot.ts";
import { err, type Result } from "../support/result.ts";
import { TokenMap } from "../support/token-map.ts";

/*
 * Keeps the sessions on disk, in the commits of the journal. A session comes to the disk together with its start, and
 * is removed together with its end. It is written when a commit is about to be made, and only if it still stands then:
 * a shorter session costs nothing. Each charge has a record of its own, so that a session with many charges is not
 * written in full after each of them.
 */

/** The name of a charge's record is the session's id, this text, and the app server's id of the charge. */
const BETWEEN = "\n";
/** One empty list, shared by all sessions without records; nobody adds to it. */
const NONE: string[] = [];

export class KeptSessions implements SessionKeeper, Companion {
  private core: Core | undefined;
  private readonly keepSoon: () => void;
  /** The sessions to write again, by id. Each call comes and goes here: `HashTable` says why this is no `Set`. */
  private readonly changedSessions = new TokenMap<Session>();
  /** The sessions on disk, by id: for each the names of the records of its charges and of the parts before it. */
  private readonly kept = new TokenMap<string[]>();
  /** Ids of sessions that are on disk, and have ended without an event that removes them. */
  private readonly gone: string[] = [];
  /** Ids of sessions that go on at another node. */
  private readonly elsewhere: string[] = [];

  /** `keepSoon`: asks for a commit, in case none comes by itself. */
  constructor(keepSoon: () => void) {
    this.keepSoon = keepSoon;
  }

  /** From now on these sessions are kept. */
  attach(core: Core): void {
    this.core = core;
  }

  /** How many sessions are on disk. */
  get size(): number {
    return this.kept.size;
  }

  /** Whether a session is on disk as it is now, except for what need not be written again. */
  has(session: Session): boolean {
    return this.kept.has(session.id) && !this.changedSessions.has(session.id);
  }

  changed(session: Session): void {
    this.changedSessions.set(session.id, session);
    this.keepSoon();
  }

  closed(session: Session): void {
    this.changedSessions.delete(session.id);
    const { startedAt, endedBy } = session.context;
    // If the clock ran, the end is on its way to the disk and removes the session. The end of a part went before it.
    if ((startedAt === null || endedBy === "change") && this.kept.has(session.id)) {
      this.gone.push(session.id);
      this.keepSoon();
    }
  }

  /** Notes a session that is on disk from the earlier process. */
  found({ id, records }: Pick<KeptSession, "id" | "records">): void {
    this.kept.set(id, [...records]);
  }

  /** Removes what is on disk of a session that does not go on, and whose end nobody will put on record. */
  drop(id: string): void {
    this.gone.push(id);
    this.keepSoon();
  }

  /** The session goes on at another node. Nothing of it is left on disk here. */
  goesOnElsewhere(id: string): void {
    this.changedSessions.delete(id);
    this.elsewhere.push(id);
    this.drop(id);
  }

  changes(events: readonly ChargingEvent[]): KeptChanges | undefined {
    const puts = new Map<string, string>();
    const removals: string[] = [];
    for (const event of events) this.follow(event, puts, removals);
    for (const id of this.gone.splice(0)) this.remove(id, puts, removals);
    for (const session of this.changedSessions.values()) {
      if (session.closed) this.changedSessions.delete(session.id);
      else this.write(session, puts);
    }
    const elsewhere = this.elsewhere.splice(0);
    if (puts.size === 0 && removals.length === 0 && elsewhere.length === 0) return undefined;
    return { puts: [...puts], removals, elsewhere };
  }

  /** The caller appends an event again that was not written. What was to be removed is removed next time. */
  failed({ puts, removals, elsewhere = [] }: KeptChanges): void {
    for (const name of removals) this.stands(name);
    this.gone.push(...removals);
    this.elsewhere.push(...elsewhere);
    for (const [name] of puts) {
      const session = this.core?.sessions.get(name);
      if (session) this.changedSessions.set(session.id, session);
    }
  }

  private write(session: Session, puts: Map<string, string>): void {
    const state = snapshot(session, "without charges");
    if (!state) return; // it stays among the changed sessions, until it stands or is over
    this.changedSessions.delete(session.id);
    puts.set(session.id, JSON.stringify(state));
    this.stands(session.id);
  }

  private stands(id: string): void {
    if (!this.kept.has(id)) this.kept.set(id, NONE);
  }

  private add(id: string, record: string): void {
    const records = this.kept.get(id) ?? NONE;
    if (records === NONE) this.kept.set(id, [record]);
    else records.push(record);
  }

  private follow(event: ChargingEvent, puts: Map<string, string>, removals: string[]): void {
    const { type, session } = event;
    if (type === "session.ended") this.remove(session.id, puts, removals);
    else if (type === "session.changed") this.passOn(event.from.id, session.id, puts, removals);
    else if (type === "charge.made") this.charged(event, puts);
  }

  private charged(event: ChargeMade, puts: Map<string, string>): void {
    const { session, charge } = event;
    const { core } = this;
    if (!core) return;
    const own = core.sessions.get(session.id);
    let owner = own;
    // The charges of a part count for the limits of the parts of its call that go on, and for what all parts cost
    // together. When a part is over, the part after it knows its charges.
    for (const id of (own ? own.charges.call : core.ended.callOf(session.id))?.sessions ?? NONE) {
      const other = core.sessions.get(id);
      if (!other || other === own) continue;
      this.changedSessions.set(other.id, other);
      // This part is over: the part after it knows its charges.
      for (let book = other.charges.before; book && !owner; book = book.before)
        if (book.facts.id === session.id) owner = other;
    }
    if (!owner) return;
    const name = session.id + BETWEEN + chargeKey(charge.id);
    puts.set(name, JSON.stringify(chargeStateOf(event)));
    this.add(owner.id, name);
  }

  /** A part of a call gives way to the next. The charges of the same app server stay with the next part. */
  private passOn(from: string, to: string, puts: Map<string, string>, removals: string[]): void {
    const records = this.kept.get(from) ?? NONE;
    const next = this.core?.sessions.get(to);
    if (next?.charges.before === undefined) {
      this.remove(from, puts, removals);
      return;
    }
    if (this.kept.delete(from)) removals.push(from);
    puts.delete(from);
    this.stands(to);
    for (const record of records) this.add(to, record);
  }

  private remove(id: string, puts: Map<string, string>, removals: string[]): void {
    const records = this.kept.get(id);
    if (records === undefined) return;
    this.kept.delete(id);
    for (const name of [id, ...records]) if (!puts.delete(name)) removals.push(name);
  }
}

/** A session as it is on disk. */
export interface KeptSession {
  readonly id: string;
  /** Names of the records of its charges, and of the charges of parts before it. */
  readonly records: readonly string[];
  /** The session's state, or why it cannot be read. */
  readonly state: Result<SessionState, string>;
}

/**
 * Reads what `KeptSessions` has written. A record that belongs to no session is returned as a session of its own that
 * cannot be read.
 */
export function readKept(entries: Iterable<readonly [name: string, text: string]>): KeptSession[] {
  const sessions = new Map<string, unknown>();
  const charges = new Map<string, Records>();
  for (const [name, text] of entries) {
    const at = name.indexOf(BETWEEN);
    const id = at < 0 ? name : name.slice(0, at);
    if (at < 0) {
      sessions.set(name, parsed(text));
      continue;
    }
    const records = charges.get(id) ?? { names: [], made: [], claimed: false };
    records.names.push(name);
    records.made.push(parsed(text));
    charges.set(id, records);
  }
  const found = Array.from(sessions, ([id, read]) => readOne(id, read, charges));
  for (const [id, { names, claimed }] of charges)
    if (!claimed) found.push({ id, records: names, state: err("there are charges of it, and nothing else") });
  return found;
}

/** The charges that one session, or one part of a call, has on disk. */
interface Records {
  readonly names: string[];
  readonly made: unknown[];
  claimed: boolean;
}

function readOne(id: string, read: unknown, charges: ReadonlyMap<string, Records>): KeptSession {
  const records: string[] = [];
  const chargesOf = (session: string) => {
    const found = charges.get(session);
    if (!found || found.claimed) return [];
    found.claimed = true;
    records.push(...found.names);
    return found.made;
  };
  const { book } = (read ?? {}) as { book?: Partial<BookState> };
  const made = chargesOf(id);
  const parts = Array.isArray(book?.before) ? book.before : undefined;
  const before = parts?.map((part) => ({ ...part, made: chargesOf(part.session) }));
  const whole = made.length === 0 && !book ? undefined : { refusals: 0, ...book, made, ...(before && { before }) };
  const state = checkSessionState(typeof read === "object" && read && whole ? { ...read, book: whole } : read);
  const isOwn = !state.ok || state.value.facts.id === id;
  return { id, records, state: isOwn ? state : err(`it is of ${state.value.facts.id}`) };
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
