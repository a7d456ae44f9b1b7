/*
 * Who may do what by the API: one right for each operation, and the rights of each role.
 */

/**
 * `see`: calls, sessions, users, what is registered; `see-money`: bills and balances; `bill`: change these; `operate`:
 * change what is registered and what runs; `administer`: tokens and the audit log; `any`: whoever has signed in.
 */
export type Right = "see" | "see-money" | "bill" | "operate" | "administer" | "any";

/** The roles of tokens. A token of an app server charges (`POST /v1/charges`) and does nothing else. */
export const TOKEN_ROLES = ["viewer", "operator", "biller", "app-server"] as const;
export type TokenRole = (typeof TOKEN_ROLES)[number];

/**
 * Also those who need no token: whoever opens the socket in the data folder (`owner`), and, where the configuration is
 * for one machine, whoever asks from this machine (`loopback`), who may look and no more.
 */
export type Role = TokenRole | "owner" | "loopback";

const ALL: readonly Right[] = ["see", "see-money", "bill", "operate", "administer"];

export const RIGHTS: Readonly<Record<Role, readonly Right[]>> = {
  viewer: ["see"],
  biller: ["see", "see-money", "bill"],
  operator: ALL,
  "app-server": [],
  loopback: ["see", "see-money"],
  owner: ALL,
};

export const mayDo = (role: Role, right: Right): boolean => right === "any" || RIGHTS[role].includes(right);

/** The token's role with the fewest rights that may do it. */
export const leastRole = (right: Right): TokenRole =>
  TOKEN_ROLES.toSorted((a, b) => RIGHTS[a].length - RIGHTS[b].length).find((role) => mayDo(role, right))!;
