import { existsSync } from "node:fs";
import { basename, join, relative, resolve } from "node:path";
import type { Registered } from "../config/advice.ts";
import type { Known } from "../config/cross-check.ts";
import { defaultConfig, loadConfig } from "../config/load.ts";
import { type ConfigProblem, formatProblem } from "../config/problems.ts";
import type { Config } from "../config/schema.ts";
import { openStore } from "../store/open.ts";
import type { Store } from "../store/types.ts";
import { CliError, EXIT, type Io } from "./io.ts";

export interface LoadedConfig {
  readonly config: Config;
  /** An absolute path; undefined: there is no file, and the defaults hold. */
  readonly path: string | undefined;
  /** How messages name the configuration. */
  readonly name: string;
  /** What this process changes in what the file says, each time that it is read. */
  readonly adapt?: (config: Config) => Config;
}

/** The file that a command uses: `--config`, else TOLLGATE_CONFIG, else tollgate.yaml here if there is one. */
export function configPath(io: Io, option: string | undefined): string | undefined {
  const named = option ?? io.env.TOLLGATE_CONFIG;
  if (named !== undefined && named !== "") return resolve(io.cwd, named);
  const here = join(io.cwd, "tollgate.yaml");
  return existsSync(here) ? here : undefined;
}

/** Loads the configuration, or ends the command with every mistake that it has. */
export function readConfig(io: Io, option: string | undefined, known?: Known): LoadedConfig {
  const path = configPath(io, option);
  if (path === undefined) return { config: defaultConfig(io.cwd), path, name: "the default configuration" };
  const loaded = loadConfig(path, known);
  if (!loaded.ok) throw new CliError(problemText(io, loaded.error), EXIT.usage);
  return { config: loaded.value, path, name: shortName(io, path) };
}

export function problemText(io: Io, problems: readonly ConfigProblem[]): string {
  const lines = problems.map((problem) => formatProblem({ ...problem, file: shortName(io, problem.file) }));
  const count = lines.length === 1 ? "1 mistake" : `${lines.length} mistakes`;
  return `${count} in the configuration\n${lines.join("\n")}\nops/tollgate.yaml of the package explains every setting`;
}

function shortName(io: Io, path: string): string {
  const short = relative(io.cwd, path);
  return short.startsWith("..") ? path : short || basename(path);
}

/** The store's log while a command uses it. */
const LOG = { level: "warn", pretty: true, to: process.stderr } as const;

/** Opens the store of that configuration for one command. */
export async function withStore<T>(config: Config, use: (store: Store) => Promise<T>): Promise<T> {
  const log = config.store && (await import("../support/logger.ts")).createLogger(LOG); // it may wait long for MongoDB
  const store = await openStore(config, log);
  try {
    return await use(store);
  } finally {
    await store.close();
  }
}

/** Warnings as lines, ready for people. */
export const warningText = (io: Io, problems: readonly ConfigProblem[]): string =>
  problems.map((problem) => `warning: ${formatProblem({ ...problem, file: shortName(io, problem.file) })}\n`).join("");

/** What the store has registered, for checking names and currencies. */
export async function knownIn(store: Store): Promise<Known & Registered> {
  const [services, appServers, tariffs, users] = await Promise.all([
    store.services.list(),
    store.appServers.list(),
    store.tariffs.list(),
    store.users.list(),
  ]);
  const realms = new Map<string, number>();
  for (const { realm } of users) realms.set(realm, (realms.get(realm) ?? 0) + 1);
  return { services, appServers, tariffs, realms };
}
