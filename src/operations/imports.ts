import { z } from "zod";
import { findings } from "../config/problems.ts";
import { userNameSchema } from "../config/terms.ts";
import { missing } from "../directory/references.ts";
import { importUsers as importRows } from "../directory/user-import.ts";
import { readCsv } from "../support/csv.ts";
import type { Result } from "../support/result.ts";
import type { OperationContext } from "./context.ts";
import { OperationError } from "./mistake.ts";
import { type AnyOperation, operation } from "./operation.ts";
import { allRegistered, appServers, clashWith, type Kind, services, tariffs } from "./registries.ts";

/* Many users, services, app servers or tariffs at once, from CSV. */

const MOST_CHARS = 16_000_000;
/** As JSON, with its quotes and line ends escaped. */
export const IMPORT_BODY_BYTES = 24_000_000;
const MOST_NOT_TAKEN = 10_000;

const csv = z.string().max(MOST_CHARS).describe("With a header row; fields separated by commas, semicolons or tabs.");
const replace = z.boolean().optional().describe("Replace those that are registered already.");
const dryRun = z.boolean().optional().describe("Only say what would be done.");
const count = z.int();
const notTaken = z.array(z.object({ line: z.int(), id: z.string(), reason: z.string() })).describe("The first 10,000.");

export const importUsers = operation({
  id: "importUsers",
  method: "POST",
  path: "/v1/imports/users",
  summary: "Register users of CSV, such as the subscriber table of Kamailio or OpenSIPS",
  right: "operate",
  bodyBytes: IMPORT_BODY_BYTES,
  input: z.strictObject({
    csv,
    realm: z.string().min(1).max(256).optional().describe("The hashes are for this realm, whatever the rows say."),
    replace,
    dryRun,
  }),
  output: z.object({
    rows: count,
    registered: count,
    replaced: count,
    unchanged: count.describe("Registered before, with the same hashes."),
    md5Only: count.describe("Of those taken: they have an MD5 value alone."),
    refused: count,
    notTaken,
    allowsMd5: z.boolean().describe("Who has an MD5 value alone can sign in."),
  }),
  run: (context, input) => importedUsers(context, input),
});

const importOf = <T extends { readonly id: string }>(kind: Kind<T>, id: string, path: string) =>
  operation({
    id,
    method: "POST",
    path,
    summary: `Register every ${kind.what} of CSV, whose columns are the settings in tollgate.yaml`,
    right: "operate",
    bodyBytes: IMPORT_BODY_BYTES,
    input: z.strictObject({
      csv,
      replace,
      force: z.boolean().optional().describe("Also those that name what is not there."),
      dryRun,
    }),
    output: z.object({ rows: count, registered: count, refused: count, notTaken }),
    run: (context, input) => importKind(kind, context, input),
  });

export const importServices = importOf(services, "importServices", "/v1/imports/services");
export const importAppServers = importOf(appServers, "importAppServers", "/v1/imports/app-servers");
export const importTariffs = importOf(tariffs, "importTariffs", "/v1/imports/tariffs");
export const importOperations: readonly AnyOperation[] = [importUsers, importServices, importAppServers, importTariffs];

interface UserImportInput {
  readonly csv: string;
  readonly realm?: string | undefined;
  readonly replace?: boolean | undefined;
  readonly dryRun?: boolean | undefined;
}

/** Does it. `progress` is told how many rows there were so far, after every 500. */
export async function importedUsers(
  { store, config }: Pick<OperationContext, "store" | "config">,
  { csv, realm: hashedFor, replace, dryRun }: UserImportInput,
  progress: (rows: number) => void = () => {},
) {
  const { realm, ownUsers } = config.portal;
  if (hashedFor !== undefined && hashedFor !== realm && !ownUsers.includes(hashedFor))
    throw new OperationError(
      "usage",
      `expected ${[realm, ...ownUsers].join(", ")} (portal.realm, portal.ownUsers); found "${hashedFor}"`,
      { field: "realm" },
    );
  const { notTaken, ...report } = await importRows(withHeader(readCsv(inOne(csv), "username")), {
    ...{ store, realm, ownUsers, hashedFor, replace, dryRun, progress },
    nameProblem: (name) => {
      const checked = userNameSchema.safeParse(name);
      return checked.success ? undefined : `username: expected ${checked.error.issues[0]?.message}`;
    },
  });
  const first = notTaken.slice(0, MOST_NOT_TAKEN).map(({ line, user, reason }) => ({ line, id: user, reason }));
  const allowsMd5 = config.authentication.algorithms.includes("md5");
  return { ...report, refused: notTaken.length, notTaken: first, allowsMd5 };
}

/** Ends the operation where not even the first row can be read. */
async function* withHeader<T>(rows: AsyncIterable<Result<T, string>>): AsyncGenerator<Result<T, string>> {
  let isFirst = true;
  for await (const row of rows) {
    if (isFirst && !row.ok) throw new OperationError("usage", row.error, { field: "csv" });
    isFirst = false;
    yield row;
  }
}

interface ImportInput {
  readonly csv: string;
  readonly replace?: boolean | undefined;
  readonly force?: boolean | undefined;
  readonly dryRun?: boolean | undefined;
}

async function importKind<T extends { readonly id: string }>(
  kind: Kind<T>,
  { store, config, configName, now }: OperationContext,
  { csv, replace, force, dryRun }: ImportInput,
) {
  const registry = kind.registry(store);
  const known = new Map((await registry.list()).map((thing) => [thing.id, thing]));
  const configured = new Set(kind.configured(config).map(({ id }) => id));
  const all = await allRegistered(store, config);
  const taken = new Map<string, T>();
  const whyNot = async (thing: T): Promise<string | undefined> => {
    const { id } = thing;
    if (configured.has(id)) return `it is defined in ${configName}`;
    if (taken.has(id)) return "it stands on an earlier line already";
    if (known.has(id) && !replace) return "it is registered already; --replace replaces it";
    const gone = force ? [] : missing(thing, all);
    if (gone.length > 0) return `there is no ${gone.join(", and no ")}; --force takes it all the same`;
    const reused = known.has(id) ? undefined : await kind.mayHave?.(store, id, now(), false).catch(messageOf);
    return reused || (await clashWith(store, config, (others) => kind.priced?.(thing, others) ?? others));
  };
  let rows = 0;
  const notTaken: { line: number; id: string; reason: string }[] = [];
  for await (const { line, id, given, problem } of rowsFor(kind.schema, csv)) {
    rows++;
    const read = kind.schema.safeParse(given);
    const why = problem ?? (read.success ? await whyNot(read.data) : mistakesIn(read.error, kind.schema, given));
    if (why === undefined && read.success) taken.set(read.data.id, read.data);
    else notTaken.push({ line, id, reason: String(why) });
  }
  if (!dryRun) await registry.putAll([...taken.values()]);
  const refused = notTaken.length;
  return { rows, registered: taken.size, refused, notTaken: notTaken.slice(0, MOST_NOT_TAKEN) };
}

const mistakesIn = (error: z.ZodError, schema: z.ZodType, given: unknown): string =>
  findings(error, schema, given)
    .map(({ path, message }) => `${path.join(".")}: ${message}`)
    .join("; ");

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

async function* inOne(text: string): AsyncGenerator<string> {
  yield text;
}

/** The part of a JSON schema that says what a column is. */
interface Node {
  readonly type?: string;
  readonly properties?: Readonly<Record<string, Node>>;
  readonly anyOf?: readonly Node[];
}

/** A row as the schema wants it, or why it cannot be. */
interface ImportedRow {
  readonly line: number;
  readonly id: string;
  readonly given: Readonly<Record<string, unknown>> | undefined;
  readonly problem?: string;
}

/**
 * The rows of a CSV file whose columns are the fields of a schema, however they are written: `incrementS`,
 * `increment_s`, `increment-s`, `limits.day`. Lists have blanks, commas or `|` between their entries. Ends the
 * operation at a column that the schema does not know.
 */
async function* rowsFor(schema: z.ZodType, csv: string): AsyncGenerator<ImportedRow> {
  const columns = columnsOf(z.toJSONSchema(schema, { io: "input", unrepresentable: "any" }) as Node);
  for await (const row of readCsv(inOne(csv), "id")) {
    if (!row.ok) throw new OperationError("usage", row.error, { field: "csv" });
    const { line, fields } = row.value;
    if (!fields) {
      yield { line, id: "", given: undefined, problem: "it has another number of fields than the header row" };
      continue;
    }
    const given: Record<string, unknown> = {};
    for (const [name, text] of fields) {
      const column = columns.get(plain(name));
      if (column === undefined)
        throw new OperationError(
          "usage",
          `unknown column ${name}; known: ${[...columns.values()].map(({ path }) => path.join(".")).join(", ")}`,
          { field: "csv" },
        );
      if (text.trim() !== "") put(given, column.path, fieldValue(text.trim(), column.type));
    }
    yield { line, id: typeof given.id === "string" ? given.id : "", given };
  }
}

interface Column {
  readonly path: readonly string[];
  readonly type: string;
}

const plain = (name: string): string => name.toLowerCase().replace(/[^a-z0-9]/g, "");

function columnsOf(node: Node, path: readonly string[] = []): Map<string, Column> {
  const columns = new Map<string, Column>();
  for (const [name, below] of Object.entries(node.properties ?? {})) {
    const here = [...path, name];
    if (below.properties) for (const [key, column] of columnsOf(below, here)) columns.set(key, column);
    else columns.set(plain(here.join(".")), { path: here, type: below.type ?? below.anyOf?.[0]?.type ?? "string" });
  }
  return columns;
}

function put(into: Record<string, unknown>, [first, ...rest]: readonly string[], value: unknown): void {
  if (rest.length === 0) {
    into[first!] = value;
    return;
  }
  into[first!] ??= {};
  put(into[first!] as Record<string, unknown>, rest, value);
}

/** As text where it is none of the type: the schema then says what it expects. */
function fieldValue(text: string, type: string): unknown {
  if (type === "array") return text.split(/[\s,|]+/).filter((one) => one !== "");
  if (type === "boolean") return /^(true|yes|1)$/i.test(text) ? true : /^(false|no|0)$/i.test(text) ? false : text;
  if (type !== "number" && type !== "integer") return text;
  return Number.isFinite(Number(text)) ? Number(text) : text;
}
