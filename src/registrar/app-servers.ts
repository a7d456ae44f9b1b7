import type { Binding } from "./binding.ts";

/*
 * App servers that say by REGISTER where they are and what they serve. Their bindings lie among those of users, under a
 * name that no user can have.
 */

const PREFIX = "appserver:";

/** The key of its binding: it has one place. */
export const PLACE = "place";

/** The name under which the binding of that app server lies. */
export const ofAppServer = (id: string): string => PREFIX + id;

/** Which app server a binding's user is; undefined: a user. */
export const appServerIn = (user: string): string | undefined =>
  user.startsWith(PREFIX) ? user.slice(PREFIX.length) : undefined;

/** An app server that has registered. */
export interface RegisteredAppServer {
  readonly id: string;
  readonly uri: string;
  readonly services: readonly string[];
}

/** The app server of a binding; undefined: it is a user's. */
export function appServerOf({ user, contact, services = [] }: Binding): RegisteredAppServer | undefined {
  const id = appServerIn(user);
  return id === undefined ? undefined : { id, uri: contact, services };
}
