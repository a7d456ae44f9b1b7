import { printable } from "./format.ts";

/** What stands at the top of a bill besides its user and month. */
export interface BillHead {
  /** Of a closed bill. */
  readonly number?: string;
  /** Who sends it: a name, and lines below it. */
  readonly operator?: { readonly name: string; readonly lines?: readonly string[] };
  /** The customer's name. */
  readonly customer?: string;
  /** What services are called, by their ids. */
  readonly titles?: Readonly<Record<string, string>>;
}

/** What a service is called on a bill. */
export function serviceTitle(service: string, { titles = {} }: BillHead): string {
  if (service === "") return "no service";
  return printable(Object.hasOwn(titles, service) ? titles[service]! : service);
}

/** The lines above the heading, and the heading. */
export function headLines({ operator, number, customer }: BillHead, user: string, month: string): string[] {
  const who = customer === undefined ? printable(user) : `${printable(customer)} (${printable(user)})`;
  return [
    ...(operator ? [printable(operator.name), ...(operator.lines ?? []).map(printable), ""] : []),
    number === undefined ? `Bill for ${who}, ${month} (UTC)` : `Bill ${number} for ${who}, ${month} (UTC)`,
  ];
}
