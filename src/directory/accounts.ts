import type { Former, User } from "./types.ts";

/*
 * A name may be given again: numbers of telephones are. What was charged to the one who had it before, and what is
 * left of their balance, is not the next one's. So each has an account of their own, whose name stands on bills and
 * balances and in events: `alice`, then `alice#2`. An id of a user has no `#`.
 */

/** The name of the `n`th account of that id, from 1. */
export const accountName = (id: string, n: number): string => (n <= 1 ? id : `${id}#${n}`);

/** Under which name a user's bills and balance lie. */
export const accountOf = ({ id, account = id }: Pick<User, "id" | "account">): string => account;

/** Whose account it is, and its number; undefined: no such name. `alice` alone is whoever has it now. */
export function readAccount(name: string): { readonly id: string; readonly n: number } | undefined {
  const read = /^([^#]+)#([1-9]\d{0,8})$/.exec(name);
  return read ? { id: read[1]!, n: Number(read[2]) } : undefined;
}

/** The number of a user's account. */
export const numberOf = (user: Pick<User, "id" | "account">): number => readAccount(accountOf(user))?.n ?? 1;

/** Under what `Former` is kept. */
export const formerUser = (id: string): string => `user ${id}`;
export const formerAppServer = (id: string): string => `appserver ${id}`;

/** What is to be remembered when a user is removed. */
export function afterRemoval(user: User, before: Former | undefined, removedAt: number): Former {
  const accounts = Math.max(before?.accounts ?? 0, numberOf(user));
  return { id: formerUser(user.id), accounts, removals: (before?.removals ?? 0) + 1, removedAt };
}
