import { Networks } from "../support/networks.ts";

/** Who may come to a listener, by address. */
export interface AccessLists {
  /** Only these; empty or undefined: all. */
  readonly allow?: readonly string[] | undefined;
  /** Not these, also if `allow` has them. */
  readonly deny?: readonly string[] | undefined;
}

/** Whether an address may come. */
export type Admits = (address: string) => boolean;

/** Undefined: the lists are empty, so nobody needs to be asked. */
export function admitsBy({ allow = [], deny = [] }: AccessLists): Admits | undefined {
  if (allow.length === 0 && deny.length === 0) return undefined;
  const [allowed, denied] = [new Networks(allow), new Networks(deny)];
  return (address) => !denied.includes(address) && (allowed.isEmpty || allowed.includes(address));
}
