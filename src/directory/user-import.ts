import { isCurrency } from "../charging/money/currency.ts";
import { ha1 } from "../sip/digest.ts";
import type { Store } from "../store/types.ts";
import { canonicalHost } from "../support/address.ts";
import type { CsvRow } from "../support/csv.ts";
import { err, ok, type Result } from "../support/result.ts";
import { accountName, formerUser } from "./accounts.ts";
import { idIn } from "./realms.ts";
import type { Ha1, User } from "./types.ts";
import { withStanding } from "./users.ts";

export interface UserImport {
  readonly store: Pick<Store, "users" | "former" | "credit">;
  /** The realm of all users but those of `ownUsers`. */
  readonly realm: string;
  readonly ownUsers: readonly string[];
  /** What is wrong with a user's name; undefined: nothing. */
  readonly nameProblem: (name: string) => string | undefined;
  /** The hashes are for this realm, whatever the column `domain` says. */
  readonly hashedFor?: string | undefined;
  /** Give users that are registered already the hashes of the file. */
  readonly replace?: boolean | undefined;
  /** Only say what would be done. */
  readonly dryRun?: boolean | undefined;
  /** Called after every 500 rows, with the number of rows so far. */
  readonly progress?: (rows: number) => void;
}

/** A row that was not taken. */
export interface NotTaken {
  readonly line: number;
  readonly user: string;
  readonly reason: string;
}

export interface UserImportReport {
  readonly rows: number;
  readonly registered: number;
  readonly replaced: number;
  /** Registered already, with the same hashes. */
  readonly unchanged: number;
  /** Of those that were registered or replaced: they have an MD5 value alone. */
  readonly md5Only: number;
  readonly notTaken: readonly NotTaken[];
}

const BATCH = 500;
/** How databases write that there is nothing. */
const NOTHING = new Set(["", "NULL", "\\N"]);

/**
 * Registers users from rows with the columns of the table `subscriber` of Kamailio and OpenSIPS: username, domain, ha1,
 * ha1b, ha1_sha256, or password in their place; and prepaid (a currency) and sessions (at once). Other columns are not
 * looked at. Nothing is written of a row that is not taken. Rejects where the store fails: what was reported as done by
 * then is done, and the same file may be imported again.
 */
export async function importUsers(
  rows: AsyncIterable<Result<CsvRow, string>>,
  options: UserImport,
): Promise<UserImportReport> {
  return new Import(options, await there(options.store)).run(rows);
}

interface There {
  readonly users: ReadonlyMap<string, User>;
  /** How many accounts an id has had that nobody has now. */
  readonly accounts: ReadonlyMap<string, number>;
}

async function there(store: UserImport["store"]): Promise<There> {
  const users = new Map((await store.users.list()).map((user) => [user.id, user]));
  const accounts = new Map((await store.former.list()).map(({ id, accounts }) => [id, accounts]));
  return { users, accounts };
}

type Columns = ReadonlyMap<string, string>;

interface Ready {
  readonly record: Pick<User, "id" | "realm" | "ha1" | "ha1WithDomain" | "limits">;
  readonly prepaid: User["prepaid"];
  readonly known: User | undefined;
}

class Import {
  private readonly options: UserImport;
  private readonly there: There;
  /** The line on which each id stood first. */
  private readonly seen = new Map<string, number>();
  private readonly notTaken: NotTaken[] = [];
  private batch: Ready[] = [];
  private rows = 0;
  /** How many of the rows were written, or said to be, when that was last done. */
  private written = 0;
  private registered = 0;
  private replaced = 0;
  private unchanged = 0;
  private md5Only = 0;

  constructor(options: UserImport, there: There) {
    this.options = options;
    this.there = there;
  }

  async run(rows: AsyncIterable<Result<CsvRow, string>>): Promise<UserImportReport> {
    for await (const row of rows) {
      this.rows++;
      if (!row.ok) {
        this.notTaken.push({ line: 0, user: "", reason: row.error });
        break;
      }
      this.take(row.value);
      if (this.rows % BATCH === 0) await this.write();
    }
    await this.write();
    const { registered, replaced, unchanged, md5Only, notTaken } = this;
    return { rows: this.rows, registered, replaced, unchanged, md5Only, notTaken };
  }

  private take({ line, fields }: CsvRow): void {
    const user = fields === undefined ? "" : nameIn(fields);
    const read = fields ? this.read(fields, user, line) : err("it has another number of fields than the header row");
    if (!read.ok) this.notTaken.push({ line, user, reason: read.error });
    else if (read.value === undefined) this.unchanged++;
    else this.batch.push(read.value);
  }

  /** Undefined: the user is registered like this. */
  private read(fields: Columns, name: string, line: number): Result<Ready | undefined, string> {
    const { hashedFor, realm: main, ownUsers, nameProblem, replace } = this.options;
    const problem = name === "" ? "it has no username" : nameProblem(name);
    if (problem !== undefined) return err(problem);
    const realm = hashedFor ?? realmOf(textIn(fields, "domain"), main, ownUsers);
    if (realm === undefined)
      return err(
        `domain ${textIn(fields, "domain")} is neither the realm ${main} nor one of portal.ownUsers (--realm says for which realm the hashes are)`,
      );
    const id = realm === main ? name : idIn(name, realm);
    const first = this.seen.get(id);
    if (first !== undefined) return err(`${id} stands on line ${first} already`);
    this.seen.set(id, line);
    const values = valuesOf(fields, name, realm);
    if (!values.ok) return values;
    const currency = textIn(fields, "prepaid");
    if (currency !== undefined && !isCurrency(currency)) return err(`prepaid: ${currency} is no ISO 4217 currency`);
    const sessions = textIn(fields, "sessions");
    if (sessions !== undefined && !/^[1-9]\d{0,5}$/.test(sessions)) return err(`sessions: ${sessions} is no number`);
    const known = this.there.users.get(id);
    const limits = sessions === undefined ? known?.limits : { sessions: Number(sessions) };
    const record = { id, realm, ...values.value, ...(limits && { limits }) };
    const prepaid = currency === undefined ? known?.prepaid : { currency };
    if (known && isSame(known, { ...record, prepaid })) return ok(undefined);
    if (known && !replace) return err(`${id} is registered already, with other values; --replace replaces them`);
    return ok({ record, prepaid, known });
  }

  private async write(): Promise<void> {
    const { batch, options } = this;
    if (this.rows === this.written) return;
    this.written = this.rows;
    this.batch = [];
    const { store, dryRun } = options;
    const users = await Promise.all(
      batch.map(async ({ record, prepaid, known: before }): Promise<User> => {
        // Read again: a long import must not undo what an operator does meanwhile, such as a block.
        const known = before && ((await store.users.get(record.id)) ?? before);
        const account = known ? known.account : await this.accountFor(record.id);
        const user = {
          ...withStanding(record, known, { prepaid, account }),
          ...(record.limits && { limits: record.limits }),
        };
        if (prepaid && !dryRun) await store.credit?.open(account ?? user.id, prepaid.currency);
        return user;
      }),
    );
    if (!dryRun) await store.users.putAll(users);
    for (const { known, record } of batch) {
      if (known) this.replaced++;
      else this.registered++;
      if (record.ha1.sha256 === undefined) this.md5Only++;
    }
    options.progress?.(this.rows);
  }

  /** As for a single user (src/cli/accounts.ts): whoever had the id before is taken for somebody else. */
  private async accountFor(id: string): Promise<string | undefined> {
    const former = this.there.accounts.get(formerUser(id)) ?? 0;
    const accounts = former > 0 || (await this.options.store.credit?.account(id)) === undefined ? former : 1;
    return accounts === 0 ? undefined : accountName(id, accounts + 1);
  }
}

function textIn(fields: Columns, column: string): string | undefined {
  const value = fields.get(column)?.trim() ?? "";
  return NOTHING.has(value) ? undefined : value;
}

const nameIn = (fields: Columns): string => textIn(fields, "username") ?? textIn(fields, "user") ?? "";

/** The realm of a row's domain; undefined: no user here has that realm. */
function realmOf(domain: string | undefined, main: string, ownUsers: readonly string[]): string | undefined {
  if (domain === undefined || domain === main) return main;
  const host = canonicalHost(domain);
  return ownUsers.includes(host) ? host : host === canonicalHost(main) ? main : undefined;
}

const HEX = { ha1: 32, ha1b: 32, ha1_sha256: 64 } as const;

function valuesOf(fields: Columns, name: string, realm: string): Result<Pick<User, "ha1" | "ha1WithDomain">, string> {
  for (const [column, digits] of Object.entries(HEX)) {
    const value = textIn(fields, column);
    if (value !== undefined && !new RegExp(`^[0-9a-fA-F]{${digits}}$`).test(value))
      return err(`${column}: expected ${digits} hexadecimal digits`);
  }
  const hex = (column: keyof typeof HEX) => textIn(fields, column)?.toLowerCase();
  const [md5, sha256, withDomain] = [hex("ha1"), hex("ha1_sha256"), hex("ha1b")];
  const atDomain = withDomain === undefined ? {} : { ha1WithDomain: { md5: withDomain } };
  if (md5 !== undefined || sha256 !== undefined)
    return ok({ ha1: { ...(sha256 !== undefined && { sha256 }), ...(md5 !== undefined && { md5 }) }, ...atDomain });
  const password = fields.get("password") ?? "";
  if (NOTHING.has(password)) return err("it has no ha1, no ha1_sha256 and no password");
  return ok({ ha1: { sha256: ha1("sha-256", name, realm, password), md5: ha1("md5", name, realm, password) } });
}

function isSame(known: User, given: Omit<User, "id" | "prepaid"> & { readonly prepaid: User["prepaid"] }): boolean {
  const same = (a: Ha1 | undefined, b: Ha1 | undefined) => a?.sha256 === b?.sha256 && a?.md5 === b?.md5;
  return (
    known.realm === given.realm &&
    same(known.ha1, given.ha1) &&
    same(known.ha1WithDomain, given.ha1WithDomain) &&
    known.prepaid?.currency === given.prepaid?.currency &&
    known.limits?.sessions === given.limits?.sessions
  );
}
