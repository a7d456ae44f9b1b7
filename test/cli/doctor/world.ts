import type { Dns, Finding, Surroundings } from "../../../src/cli/doctor/types.ts";
import { parseConfig } from "../../../src/config/load.ts";

/** Records by name, for each type. */
export interface Zone {
  readonly a?: Readonly<Record<string, readonly string[]>>;
  readonly srv?: Readonly<Record<string, readonly { readonly name: string; readonly port: number }[]>>;
  readonly naptr?: Readonly<Record<string, readonly { readonly service: string; readonly replacement: string }[]>>;
}

function dnsOf({ a = {}, srv = {}, naptr = {} }: Zone): Dns {
  const from = <T>(records: Readonly<Record<string, readonly T[]>>) => {
    return async (name: string) => {
      const found = records[name];
      if (!found) throw Object.assign(new Error(`ENOTFOUND ${name}`), { code: "ENOTFOUND" });
      return found;
    };
  };
  const v = (six: boolean) => async (name: string) => (await from(a)(name)).filter((one) => one.includes(":") === six);
  return { resolveNaptr: from(naptr), resolveSrv: from(srv), resolve4: v(false), resolve6: v(true) };
}

/** A machine on which everything is as it should be, but for what is given. */
export function world(
  text: string,
  given: Partial<Omit<Surroundings, "config" | "dns">> & { zone?: Zone } = {},
): Surroundings {
  const read = parseConfig(text, "/etc/tollgate/tollgate.yaml");
  if (!read.ok) throw new Error(JSON.stringify(read.error));
  const { zone = {}, ...rest } = given;
  return {
    config: read.value,
    now: () => Date.now(),
    listens: async () => undefined,
    relayRuns: async () => false,
    dns: dnsOf(zone),
    run: async () => undefined,
    read: () => undefined,
    modeOf: () => 0o100600,
    addresses: () => ["127.0.0.1", "203.0.113.5"],
    freeBytes: () => 1e12,
    heapBytes: 4e9,
    pings: async () => undefined,
    openBus: async () => {},
    openStore: async () => ({ differenceMs: undefined }),
    ...rest,
  };
}

/** `grade: what` of each finding. */
export const lines = (findings: readonly Finding[]): string[] => findings.map(({ grade, what }) => `${grade}: ${what}`);
export const grades = (findings: readonly Finding[]): string[] => findings.map(({ grade }) => grade);
