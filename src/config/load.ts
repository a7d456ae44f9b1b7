import { readFileSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { type Document, isAlias, isMap, isScalar, isSeq, LineCounter, type Node, parseDocument, visit } from "yaml";
import { compileRules } from "../directory/rules.ts";
import { err, ok, type Result } from "../support/result.ts";

import { advice, type Registered } from "./advice.ts";

import {
  currencyMistakes,
  danglingNames,
  duplicates,
  fileMistakes,
  type Known,
  mediaMistakes,
  provisioningMistakes,
  retentionMistakes,
  roleMistakes,
  tlsMistakes,
} from "./cross-check.ts";

import { httpAppServerMistakes } from "./http-app-servers.ts";
import { type ConfigProblem, type Finding, findings, type Path } from "./problems.ts";
import { type Config, configSchema } from "./schema.ts";

/**
 * The configuration if there is no file: one machine, UDP and TCP on 127.0.0.1:5060, data in ./data of `folder`.
 */
export function defaultConfig(folder = process.cwd()): Config {
  const config = configSchema.parse({});
  return { ...config, data: resolve(folder, config.data) };
}

/**
 * Reads and checks a configuration file. Relative paths in it count from the file's folder. The error lists every
 * mistake that could be found, in the order of the file. `known`: what the store has. With it, a name that is neither
 * in the file nor in the store is a mistake too.
 */
export function loadConfig(path: string, known?: Known): Result<Config, ConfigProblem[]> {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    return err([{ file: path, path: "", message: `cannot be read: ${(error as Error).message}` }]);
  }
  const read = parseConfig(text, path, known);
  if (!read.ok) return read;
  const config = withPathsFrom(dirname(path), read.value);
  const found = fileMistakes(config);
  if (found.length === 0) return ok(config);
  const lines = new LineCounter();
  return err(located(found, parseDocument(text, { lineCounter: lines, prettyErrors: false }), lines, path));
}

/** The settings that are paths, relative to the configuration file's folder. */
const PATHS = [
  "data",
  ...["cert", "key", "ca", "clientCa"].map((key) => `tls.${key}`),
  "http.tls.cert",
  "http.tls.key",
  "http.metricsTokenFile",
  "telemetry.headersFile",
  "identity.key",
  "identity.certificate",
  ...[
    "passwordFile",
    "tokenFile",
    "credentialsFile",
    "nkeyFile",
    "secretFile",
    "acceptSecretFile",
    "tls.ca",
    "tls.cert",
    "tls.key",
  ].map((key) => `bus.${key}`),
  "store.passwordFile",
  "store.tls.ca",
  "store.tls.cert",
  "store.tls.key",
];

/** The same in each entry of `usage`. */
const USAGE_PATHS = ["keyFile", "secretFile", "formerSecretFile", "customersFile"];

function withPathsFrom(folder: string, config: Config): Config {
  const copy = structuredClone(config);
  for (const path of PATHS) {
    const names = path.split(".");
    const last = names.pop()!;
    let section: Record<string, unknown> | undefined = copy;
    for (const name of names) section = section?.[name] as Record<string, unknown> | undefined;
    if (typeof section?.[last] === "string") section[last] = resolve(folder, section[last]);
  }
  for (const sink of copy.usage as Record<string, unknown>[])
    for (const name of USAGE_PATHS) if (typeof sink[name] === "string") sink[name] = resolve(folder, sink[name]);
  return copy;
}

/** The same from text; `file` is what the problems name. Paths stay as they are written. */
export function parseConfig(text: string, file: string, known?: Known): Result<Config, ConfigProblem[]> {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false });
  if (document.errors.length > 0) {
    const problems = document.errors.map(
      (error): ConfigProblem => ({
        file,
        ...place(lines, error.pos[0]),
        path: "",
        message: `not YAML: ${error.message}`,
      }),
    );
    return err(problems);
  }
  keepAmountsExact(document);
  let input: unknown;
  try {
    input = withoutEmpty(document.toJS({ maxAliasCount: 1000 }));
  } catch (error) {
    return err([{ file, line: 1, column: 1, path: "", message: `not YAML: ${(error as Error).message}` }]);
  }
  const checked = configSchema.safeParse(input);
  const found = checked.success ? semantic(checked.data, known) : findings(checked.error, configSchema, input);
  if (found.length > 0) return err(located(found, document, lines, file));
  return ok(checked.data as Config);
}

/** What a file without mistakes should better say; `registered`: what the store has. */
export function adviceOn(path: string, config: Config, registered: Registered): ConfigProblem[] {
  const lines = new LineCounter();
  const document = parseDocument(readFileSync(path, "utf8"), { lineCounter: lines, prettyErrors: false });
  const found = advice(config, registered);
  const elsewhere = found.filter((one) => one.path.length === 0);
  const here = located(
    found.filter((one) => one.path.length > 0),
    document,
    lines,
    path,
  );
  return [...here, ...elsewhere.map(({ message }) => ({ file: path, path: "", message }))];
}

/**
 * Mistakes that a schema cannot see: names that point nowhere, names used twice, currencies that do not fit, rules
 * that do not compile.
 */
function semantic(config: Config, known: Known | undefined): Finding[] {
  const rules = compileRules(config.rules);
  const inRules = rules.ok ? [] : rules.error.map(({ path, message }) => ({ path: ["rules", ...path], message }));
  return [
    ...duplicates(config),
    ...roleMistakes(config),
    ...tlsMistakes(config),
    ...mediaMistakes(config),
    ...provisioningMistakes(config),
    ...httpAppServerMistakes(config),
    ...retentionMistakes(config),
    ...(known ? danglingNames(config, known) : []),
    ...currencyMistakes(config, known),
    ...inRules,
  ];
}

const AMOUNTS = new Set([
  "setupFee",
  "price",
  "minimum",
  "cap",
  "charge",
  "session",
  "day",
  "rate",
  "percent",
  "perSession",
  "timeShare",
]);

/**
 * 0.10 without quotes is the text "0.10", not a float (decision 10): amounts are read from the source text.
 */
function keepAmountsExact(document: Document): void {
  visit(document, {
    Pair(_, pair) {
      if (!isScalar(pair.key) || !AMOUNTS.has(String(pair.key.value)) || !isScalar(pair.value)) return;
      if (typeof pair.value.value === "number" && pair.value.source !== undefined) pair.value.value = pair.value.source;
    },
  });
}

/** A key with nothing behind it (all of its entries commented out) counts as left out. */
function withoutEmpty(value: unknown): unknown {
  if (value === null || value === undefined) return {};
  if (typeof value !== "object" || Array.isArray(value)) return value;
  return Object.fromEntries(Object.entries(value).filter(([, inner]) => inner !== null));
}

function located(found: readonly Finding[], document: Document, lines: LineCounter, file: string): ConfigProblem[] {
  const problems = found.map(({ path, message, atKey }) => ({
    file,
    ...place(lines, offsetOf(document, path, atKey ?? false)),
    path: pathText(path),
    message,
  }));
  return problems.sort((a, b) => a.line - b.line || a.column - b.column);
}

function place(lines: LineCounter, offset: number): { line: number; column: number } {
  const { line, col } = lines.linePos(offset);
  return { line: Math.max(1, line), column: Math.max(1, col) };
}

/** The place of the value (or the key) at a path; if it is missing, the place of the nearest thing around it. */
function offsetOf(document: Document, path: Path, atKey: boolean): number {
  let node = resolved(document, document.contents);
  let offset = node?.range?.[0] ?? 0;
  for (const [depth, key] of path.entries()) {
    if (isMap(node)) {
      const pair = node.items.find((item) => isScalar(item.key) && String(item.key.value) === String(key));
      if (pair === undefined) return offset;
      const keyOffset = isScalar(pair.key) ? pair.key.range?.[0] : undefined;
      const value = resolved(document, pair.value as Node | null);
      const last = depth === path.length - 1;
      offset = (last && !atKey ? value?.range?.[0] : keyOffset) ?? keyOffset ?? offset;
      node = value;
    } else if (isSeq(node)) {
      node = resolved(document, node.items[Number(key)] as Node | undefined);
      offset = node?.range?.[0] ?? offset;
    } else return offset;
  }
  return offset;
}

function resolved(document: Document, node: Node | null | undefined): Node | undefined {
  return (isAlias(node) ? node.resolve(document) : node) ?? undefined;
}

function pathText(path: Path): string {
  let text = "";
  for (const key of path) text += typeof key === "number" ? `[${key}]` : text === "" ? key : `.${key}`;
  return text;
}
