import { isTransport } from "../transport/kinds.ts";
import type { Destination } from "../transport/types.ts";
import type { Binding } from "./binding.ts";

/** A binding as data, without its connection. Its times are relative to a moment that writer and reader agree on. */
export type BindingData = Omit<Binding, "flow" | "home">;

/** One binding on disk; `since` and `until` are milliseconds since 1970. */
export interface StoredBinding {
  /** Made of user and key; at most 64 characters. */
  readonly id: string;
  readonly data: BindingData;
}

/**
 * Keeps bindings, so that a relay that is started again finds them: LMDB or MongoDB (decision 7). Nodes that share a
 * store have all bindings there; each writes its own.
 */
export interface BindingStore {
  list(): Promise<StoredBinding[]>;
  /** Adds or replaces some, and removes others. If it rejects, some of that may have been done. */
  write(put: readonly StoredBinding[], remove: readonly string[]): Promise<void>;
}

/** The binding as data; its times are told from `zero`, by the monotonic clock. */
export function dataOf({ flow: _flow, home: _home, ...binding }: Binding, zero: number): BindingData {
  return { ...binding, since: binding.since - zero, until: binding.until - zero };
}

/** What others wrote, as a binding. Undefined: it is none, or larger than any that is made here. */
export function bindingIn(value: unknown, zero: number): Binding | undefined {
  if (typeof value !== "object" || value === null) return undefined;
  const data = value as Partial<Record<keyof BindingData, unknown>>;
  const { user, key, aor, contact, params, q, instance, regId, path, callId, cseq, userAgent, temps } = data;
  const { cameFrom, behind, survives, services, since, until } = data;
  const texts = [user, key, aor, contact, params, callId, userAgent];
  if (!texts.every(isText) || !isTexts(path, 8) || !isTexts(temps, 8)) return undefined;
  if (![q, cseq, since, until].every(Number.isFinite) || typeof survives !== "boolean") return undefined;
  if ((instance ?? undefined) !== undefined && !isText(instance)) return undefined;
  if ((services ?? undefined) !== undefined && !isTexts(services, 1_000)) return undefined;
  if ((regId ?? undefined) !== undefined && !Number.isInteger(regId)) return undefined;
  if (!isPlace(cameFrom) || ((behind ?? undefined) !== undefined && !isPlace(behind))) return undefined;
  return {
    ...(data as BindingData),
    instance: (instance as string | null) ?? undefined,
    regId: (regId as number | null) ?? undefined,
    services: (services as readonly string[] | null) ?? undefined,
    behind: (behind as Destination | null) ?? undefined,
    since: zero + (since as number),
    until: zero + (until as number),
  };
}

const MAX_CHARS = 4_096;
const isText = (value: unknown): value is string => typeof value === "string" && value.length <= MAX_CHARS;
const isTexts = (value: unknown, most: number): boolean =>
  Array.isArray(value) && value.length <= most && value.every(isText);

function isPlace(value: unknown): value is Destination {
  if (typeof value !== "object" || value === null) return false;
  const { transport, address, port, leavesBy, name } = value as Partial<Record<keyof Destination, unknown>>;
  const isPort = Number.isInteger(port) && (port as number) > 0 && (port as number) < 65_536;
  if (typeof transport !== "string" || !isTransport(transport) || !isText(address) || !isPort) return false;
  return [leavesBy, name].every((text) => text === undefined || text === null || isText(text));
}
