import { createHash, timingSafeEqual } from "node:crypto";
import { z } from "zod";
import type { ApiToken } from "../directory/types.ts";
import { systemRandom } from "../support/random.ts";
import { OperationError } from "./mistake.ts";
import { nothing, operation } from "./operation.ts";
import { TOKEN_ROLES } from "./rights.ts";

const SECRET_BITS = 256;
const MOST_TOKENS = 1_000;
const NAME = /^[A-Za-z0-9_-]{1,64}$/;
const MOST_DAYS = 3_650;

const nameField = z.string().regex(NAME, "expected 1 to 64 letters, digits, _ and -");

/** A token as it is shown: without its hash. */
export type TokenView = Omit<ApiToken, "id" | "hash"> & { readonly name: string; readonly expired: boolean };

const tokenView = z.object({
  name: z.string(),
  role: z.enum(TOKEN_ROLES),
  createdAt: z.int(),
  expiresAt: z.int().optional(),
  appServer: z.string().optional(),
  expired: z.boolean(),
});

const viewOf = ({ id: name, hash: _, ...token }: ApiToken, now: number): TokenView => ({
  name,
  ...token,
  expired: token.expiresAt !== undefined && token.expiresAt <= now,
});

/** By the command alone: no token makes another one. */
export const createToken = operation({
  id: "createToken",
  method: "POST",
  path: "/v1/tokens",
  summary: "Make a token",
  right: "administer",
  input: z.strictObject({
    name: nameField,
    role: z.enum(TOKEN_ROLES),
    expiresDays: z.number().positive().max(MOST_DAYS).optional(),
    appServer: z.string().min(1).max(64).optional(),
  }),
  output: z.object({ token: z.string(), name: z.string() }),
  async run({ store, config, now }, { name, role, expiresDays, appServer }) {
    if ((await store.tokens.list()).length >= MOST_TOKENS)
      throw new OperationError("refused", `there are ${MOST_TOKENS} tokens; revoke one first`);
    if ((role === "app-server") !== (appServer !== undefined))
      throw new OperationError("usage", "with the role app-server, and with no other: whose token is it?", {
        field: "appServer",
      });
    if (appServer !== undefined) {
      const known = config.appServers.some(({ id }) => id === appServer) || (await store.appServers.get(appServer));
      if (!known)
        throw new OperationError("unknown", `no app server ${appServer}`, { hint: "see: tollgate appserver list" });
    }
    const secret = systemRandom.token(SECRET_BITS);
    const createdAt = now();
    const expiresAt = expiresDays === undefined ? undefined : createdAt + Math.round(expiresDays * 86_400_000);
    const isNew = await store.tokens.add({
      id: name,
      role,
      hash: digest(secret).toString("hex"),
      createdAt,
      ...(expiresAt !== undefined && { expiresAt }),
      ...(appServer !== undefined && { appServer }),
    });
    if (!isNew)
      throw new OperationError("refused", `there is a token ${name} already`, { hint: "see: tollgate token list" });
    return { name, token: `${name}.${secret}` };
  },
});

export const listTokens = operation({
  id: "listTokens",
  method: "GET",
  path: "/v1/tokens",
  summary: "The tokens, without their secrets",
  right: "administer",
  input: nothing,
  output: z.object({ tokens: z.array(tokenView) }),
  async run({ store, now }) {
    const tokens = (await store.tokens.list()).sort((a, b) => a.createdAt - b.createdAt);
    return { tokens: tokens.map((token) => viewOf(token, now())) };
  },
});

export const revokeToken = operation({
  id: "revokeToken",
  method: "DELETE",
  path: "/v1/tokens/{name}",
  summary: "Revoke a token: it is refused within about a second",
  right: "administer",
  input: z.strictObject({ name: nameField }),
  output: z.object({ name: z.string(), revoked: z.literal(true) }),
  async run({ store }, { name }) {
    if (await store.tokens.remove(name)) return { name, revoked: true };
    throw new OperationError("unknown", `no token ${name}`, { hint: "see: tollgate token list" });
  },
});

/** `<name>.<secret>` as a request has it; undefined: it is no token. */
export function splitToken(text: string): { readonly name: string; readonly secret: string } | undefined {
  const at = text.indexOf(".");
  return at < 1 ? undefined : { name: text.slice(0, at), secret: text.slice(at + 1) };
}

/**
 * Whether the secret belongs to the token, which still is good. It takes the same time for a right secret, a wrong one,
 * and a token that does not exist.
 */
export function isGood(token: ApiToken | undefined, secret: string, now: number): token is ApiToken {
  const expected = token === undefined ? NOBODY : Buffer.from(token.hash, "hex");
  const same = expected.length === NOBODY.length && timingSafeEqual(digest(secret), expected);
  return same && token !== undefined && (token.expiresAt === undefined || now < token.expiresAt);
}

const digest = (secret: string): Buffer => createHash("sha256").update(secret).digest();
const NOBODY = Buffer.alloc(32);
