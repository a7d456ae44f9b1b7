import type { Former, User } from "./types.ts";

/*
 * A user id may go to another person later, as telephone numbers do. Charges and balance of the person before do not go
 * with it. So each person has an account of their own. Its name stands on bills and balances, and in events: `alice`,
 * then `alice#2`. A user id has no `#`.
 */

/** The name of the `n`th account of that id, from 1. */
export const accountName = (id: string, n: number): string => (n <= 1 ? id : `${id}#${n}`);

/** The name of the account that has a user's bills and balance. */
export const accountOf = ({ id, account = id }: Pick<User, "id" | "account">): string => account;

/**
 * The user id and the number in an account name such as `alice#2`. Undefined for a name without a number: `alice` alone
 * stands for the user who has that id now.
 */
export function readAccount(name: string): { readonly id: string; readonly n: number } | undefined {
  const read = /^([^#]+)#([1-9]\d{0,8})$/.exec(name);
  return read ? { id: read[1]!, n: Number(read[2]) } : undefined;
}

/** The number of a user's account. */
export const numberOf = (user: Pick<User, "id" | "account">): number => readAccount(accountOf(user))?.n ?? 1;

/** The ids under which a `Former` is kept. */
export const formerUser = (id: string): string => `user ${id}`;
export const formerAppServer = (id: string): string => `appserver ${id}`;

/** What is remembered when a user is removed. */
export function afterRemoval(user: User, before: Former | undefined, removedAt: number): Former {
  const accounts = Math.max(before?.accounts ?? 0, numberOf(user));
  return { id: formerUser(user.id), accounts, removals: (before?.removals ?? 0) + 1, removedAt };
}
