import type { Tax } from "../charging/money/tax.ts";
import type { AppServer, Rule, Service } from "./types.ts";

export type RegisteredKind = "service" | "app server" | "tariff";

/** Everything that is registered or configured. */
export interface AllRegistered {
  readonly services: readonly Service[];
  readonly appServers: readonly AppServer[];
  readonly tariffs: readonly { readonly id: string }[];
  readonly rules: readonly Rule[];
  readonly taxes: readonly Tax[];
}

interface Reference {
  readonly kind: RegisteredKind;
  readonly id: string;
}

/** What a thing names. */
export function referencesOf(thing: Partial<Service & AppServer>): Reference[] {
  const { tariff, services = [], mayReferTo = [] } = thing;
  return [
    ...(tariff === undefined ? [] : [{ kind: "tariff" as const, id: tariff }]),
    ...services.map((id) => ({ kind: "service" as const, id })),
    ...mayReferTo.map((id) => ({ kind: "app server" as const, id })),
  ];
}

/** Those of the things that a thing names that are not there, such as `tariff lesson`. */
export function missing(thing: Partial<Service & AppServer>, all: AllRegistered): string[] {
  const there = {
    service: all.services,
    "app server": all.appServers,
    tariff: all.tariffs,
  } satisfies Record<RegisteredKind, readonly { readonly id: string }[]>;
  return referencesOf(thing)
    .filter(({ kind, id }) => !there[kind].some((one) => one.id === id) && id !== (thing as { id?: string }).id)
    .map(({ kind, id }) => `${kind} ${id}`);
}

/** Everything that names it, such as `service english`, `rule lessons`. */
export function usersOf(kind: RegisteredKind, id: string, all: AllRegistered): string[] {
  const names = (thing: Partial<Service & AppServer>) =>
    referencesOf(thing).some((one) => one.kind === kind && one.id === id);
  const inRule = ({ then }: Rule) =>
    (kind === "service" ? [then.service] : kind === "tariff" ? [then.tariff] : (then.appServers ?? [])).includes(id);
  return [
    ...all.services.filter(names).map((one) => `service ${one.id}`),
    ...all.appServers.filter((one) => names(one) && one.id !== id).map((one) => `app server ${one.id}`),
    ...all.rules.filter(inRule).map(({ name }) => `rule ${name}`),
    ...all.taxes.filter((tax) => kind === "service" && tax.services?.includes(id)).map((tax) => `tax ${tax.id}`),
  ];
}
