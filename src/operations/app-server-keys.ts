import { z } from "zod";
import { idSchema } from "../config/terms.ts";
import { bearerToken, chargesRealm, newAppServerKey } from "../directory/app-server-keys.ts";
import { systemRandom } from "../support/random.ts";
import { OperationError } from "./mistake.ts";
import { type AnyOperation, idField, operation } from "./operation.ts";

const MAX_KEYS = 20;

export const listAppServerKeys = operation({
  id: "listAppServerKeys",
  method: "GET",
  path: "/v1/app-server-keys",
  summary: "The keys with which app servers charge, without their secrets",
  right: "see",
  input: z.strictObject({ appServer: idField.optional() }),
  output: z.object({
    keys: z.array(z.object({ key: z.string(), appServer: z.string(), createdAt: z.int(), realm: z.string() })),
    realm: z.string().describe("Keys of another realm are good for HTTP alone."),
  }),
  async run({ store, config }, { appServer }) {
    const keys = (await store.appServerKeys.list())
      .filter((key) => appServer === undefined || key.appServer === appServer)
      .sort((a, b) => a.createdAt - b.createdAt)
      .map(({ id, appServer, createdAt, realm }) => ({ key: id, appServer, createdAt, realm }));
    return { keys, realm: chargesRealm(config.portal.realm) };
  },
});

export const addAppServerKey = operation({
  id: "addAppServerKey",
  method: "POST",
  path: "/v1/app-servers/{id}/keys",
  summary: "Make a key; its secret is in this answer, and nowhere else",
  right: "operate",
  input: z.strictObject({
    id: idField,
    md5: z.boolean().default(true).describe("Keep a hash for SIP stacks that know no SHA-256."),
    serves: z.array(idSchema).min(1).optional().describe("Services that it allows to register for, by SIP REGISTER."),
  }),
  output: z.object({ key: z.string(), secret: z.string(), bearer: z.string(), realm: z.string() }),
  async run({ store, config, now }, { id, md5, serves }) {
    for (const service of serves ?? [])
      if (!config.services.some((one) => one.id === service) && !(await store.services.get(service)))
        throw new OperationError("unknown", `no service ${service}`, { hint: "see: tollgate service list" });
    if (serves && !idSchema.safeParse(id).success) throw new OperationError("refused", `${id}: no id of an app server`);
    const known = config.appServers.some((one) => one.id === id) || (await store.appServers.get(id)) !== undefined;
    if (!known && !serves)
      throw new OperationError("unknown", `no app server ${id}`, { hint: "see: tollgate appserver list" });
    const others = (await store.appServerKeys.list()).filter(({ appServer }) => appServer === id);
    if (others.length >= MAX_KEYS)
      throw new OperationError("refused", `app server ${id} has ${others.length} keys`, {
        hint: "remove one: tollgate appserver key remove KEY",
      });
    const portalRealm = config.portal.realm;
    const { key, secret } = newAppServerKey({
      appServer: id,
      portalRealm,
      md5,
      ...(serves && { serves }),
      now: now(),
      random: systemRandom,
    });
    await store.appServerKeys.put(key);
    return { key: key.id, secret, bearer: bearerToken(key.id, secret), realm: key.realm };
  },
});

export const removeAppServerKey = operation({
  id: "removeAppServerKey",
  method: "DELETE",
  path: "/v1/app-server-keys/{key}",
  summary: "Remove a key: it is refused within about a second",
  right: "operate",
  input: z.strictObject({ key: idField }),
  output: z.object({ key: z.string(), removed: z.literal(true) }),
  async run({ store }, { key }) {
    if (await store.appServerKeys.remove(key)) return { key, removed: true };
    throw new OperationError("unknown", `no key ${key}`, { hint: "see: tollgate appserver key list" });
  },
});

export const keyOperations: readonly AnyOperation[] = [listAppServerKeys, addAppServerKey, removeAppServerKey];
