import { isDeepStrictEqual } from "node:util";
import type { Config } from "./schema.ts";

/** The settings that a relay takes up when it reads its configuration again (SIGHUP); all others wait for a restart. */
const LIVE = new Set([
  "services",
  "appServers",
  "tariffs",
  "taxes",
  "settlement",
  "rules",
  "portal.domains",
  "limits.ruleBodyBytes",
]);

export interface Changes {
  /** Settings that hold from now on. */
  readonly taken: readonly string[];
  /** Settings that differ from those with which the process was started. */
  readonly waiting: readonly string[];
}

/** `running`: as of the start; `held`: as of the last time that the configuration was read. */
export function changesOf(running: Config, held: Config, next: Config): Changes {
  return {
    taken: different(held, next).filter((name) => LIVE.has(name)),
    waiting: different(running, next).filter((name) => !LIVE.has(name)),
  };
}

/** The names of the settings that differ, `limits.calls`. A list counts as one setting. */
function different(a: Config, b: Config): string[] {
  const names: string[] = [];
  for (const section of new Set([...Object.keys(a), ...Object.keys(b)]) as Set<keyof Config>) {
    const [before, after] = [a[section], b[section]] as unknown[];
    if (isDeepStrictEqual(before, after)) continue;
    if (LIVE.has(section) || !isSection(before) || !isSection(after)) {
      names.push(section);
      continue;
    }
    for (const key of new Set([...Object.keys(before), ...Object.keys(after)]))
      if (!isDeepStrictEqual(before[key], after[key])) names.push(`${section}.${key}`);
  }
  return names.sort();
}

/** A list is no section. */
const isSection = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);
