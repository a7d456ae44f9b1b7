import { asBinary, type Database, type RootDatabase } from "lmdb";
import type { Account, AccountQuery, Entry } from "../charging/billing/store.ts";
import { endedId } from "../charging/events/events.ts";
import {
  type AccountForm,
  type AccountRest,
  accountForm,
  accountOf,
  accountWith,
  type EntryForm,
  entryOf,
  restOf,
  withRest,
} from "./embedded-forms.ts";

const COMMA = 0x2c;
const ZERO = 0x30;
const LETTER_C = 0x63;
/** The value of a record whose key says everything: 0 as JSON, made only once. */
export const THERE = asBinary(Buffer.from("0"));

/** The accounts of the embedded store. Methods that write must be called within a transaction. */
export class EmbeddedAccounts {
  /**
   * Accounts of sessions that are not over. When a session is over, its account is stored with the entry for its time,
   * unless the two do not agree (`restOf`).
   */
  private readonly accountsDb: Database<AccountForm, string>;
  /** Accounts that take late charges: [dueAt, session]. */
  private readonly dueDb: Database<typeof THERE, [number, string]>;
  private readonly entriesDb: Database<EntryForm | string, string>;

  constructor(root: RootDatabase, entriesDb: Database<EntryForm | string, string>) {
    this.accountsDb = root.openDB({ name: "accounts", encoding: "json" });
    this.dueDb = root.openDB({ name: "dueAccounts", encoding: "json" });
    this.entriesDb = entriesDb;
  }

  /** The databases, for `EmbeddedRetention`, which looks through all accounts. */
  get kept(): { readonly accounts: Database<AccountForm, string>; readonly due: EmbeddedAccounts["dueDb"] } {
    return { accounts: this.accountsDb, due: this.dueDb };
  }

  get(session: string): Account | undefined {
    const form = this.accountsDb.get(session);
    if (form) return accountOf(session, form);
    const id = endedId(session);
    return accountWith(id, this.entriesDb.get(id));
  }

  find({ state, dueBy = Number.MAX_VALUE, limit }: AccountQuery): Account[] {
    const found: Account[] = [];
    if (state === "running") {
      for (const { key, value } of this.accountsDb.getRange({})) {
        if (found.length >= limit) break;
        if (value[1] === state) found.push(accountOf(key, value));
      }
      return found;
    }
    for (const [dueAt, session] of this.dueDb.getKeys({ limit })) {
      if (dueAt > dueBy) break;
      const account = this.get(session);
      if (account) found.push(account);
    }
    return found;
  }

  /** Writes an account. False if the stored one has another revision. */
  write(account: Account): boolean {
    const { revision } = account;
    const { session } = account.context;
    const id = endedId(session);
    if (revision === 0 && !this.entriesDb.doesExist(id)) {
      if (!putNew(this.accountsDb, session, accountForm(account, 1))) return false;
    } else {
      const before = this.get(session);
      if ((before?.revision ?? 0) !== revision) return false;
      const entry = this.entriesDb.get(id);
      const rest = typeof entry === "object" ? restOf(account, revision + 1, entryOf(id, entry)) : undefined;
      if (typeof entry === "object") this.entriesDb.putSync(id, withRest(entry, rest));
      if (rest) this.accountsDb.removeSync(session);
      else this.accountsDb.putSync(session, accountForm(account, revision + 1));
      if (before?.state === "chargeable") this.dueDb.removeSync([before.context.dueAt ?? 0, session]);
    }
    this.noteDue(account);
    return true;
  }

  /**
   * The part of an account that may be written with a new entry. Undefined if the entry is not the one for the
   * session's time, if the two do not agree, or if the revision is wrong.
   */
  restFor(account: Account, entry: Entry): AccountRest | undefined {
    const rest = restOf(account, account.revision + 1, entry);
    if (rest === undefined) return undefined;
    const before = this.accountsDb.getBinaryFast(entry.session);
    return (before ? runningRevision(before) : 0) === account.revision ? rest : undefined;
  }

  /** Notes that the account was written with an entry, as given by `restFor`. */
  laidAside(account: Account): void {
    if (account.revision > 0) this.accountsDb.removeSync(account.context.session);
    this.noteDue(account);
  }

  private noteDue({ state, context }: Account): void {
    if (state === "chargeable") this.dueDb.putSync([context.dueAt ?? 0, context.session], THERE);
  }
}

/** Writes a record if its key is new. False if there is a record already, which stays as it is. */
export function putNew<Value>(db: Database<Value, string>, key: string, value: Value): boolean {
  return db.putSync(key, value, { noOverwrite: true }) as unknown as boolean; // lmdb's types do not say this
}

/** The revision of an `AccountForm`, from the beginning of its JSON text; undefined if the session is over. */
function runningRevision(json: Buffer): number | undefined {
  let revision = 0;
  let i = 1;
  for (; json[i] !== COMMA; i++) revision = revision * 10 + (json[i]! - ZERO);
  const isOver = json[i + 2] === LETTER_C; // ,"chargeable" or ,"closed"
  return isOver ? undefined : revision;
}
