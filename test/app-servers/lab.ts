import { pino } from "pino";
import { onTestFinished } from "vitest";
import { configSchema } from "../../src/config/schema.ts";
import { Api } from "../../src/console/api.ts";
import { bearerToken, newAppServerKey } from "../../src/directory/app-server-keys.ts";
import { type Client, createClient } from "../../src/sdk/index.ts";
import type { Store } from "../../src/store/types.ts";
import { systemRandom } from "../../src/support/random.ts";
import { DOMAIN, openPortal, PASSWORD, type Portal as Relay, USER } from "../e2e/portal.ts";
import { freePort } from "../support/peers.ts";
import { openShop, type Portal, type Protocol, type Shop, type ShopOptions } from "./shops.ts";

export interface Lab<S extends Shop = Shop> {
  readonly portal: Relay;
  readonly alice: Client;
  readonly shops: S[];
  readonly http: number;
}

/** Keys of app servers that are to be in the store. */
export const keyFor = (appServer: string) =>
  newAppServerKey({ appServer, portalRealm: DOMAIN, md5: true, now: 0, random: systemRandom });

/**
 * App servers `shop0`, `shop1`, ... that speak that protocol, a relay with its HTTP, and alice's client; closed when
 * the test is over. A session costs 0.10 of setup fee.
 */
export async function openLab(
  protocol: Protocol,
  shops: readonly ShopOptions[],
  config: Readonly<Record<string, unknown>> = {},
  more: { readonly prepare?: (store: Store) => Promise<unknown>; readonly appServer?: object } = {},
): Promise<Lab> {
  const http = await freePort();
  const keys = shops.map((_, i) => keyFor(`shop${i}`));
  let relay: Relay | undefined;
  const at = (i: number) => (): Portal => ({
    port: http,
    bearer: bearerToken(keys[i]!.key.id, keys[i]!.secret),
    jwks: () => relay!.relay.identity!.jwks as never,
  });
  const opened = await Promise.all(shops.map((options, i) => openShop(protocol, options, at(i))));
  const ids = [...new Set(shops.flatMap(({ services }) => services))];
  const { services = [], ...sections } = config as { services?: { id: string }[] };
  const settings = {
    identity: { url: `http://127.0.0.1:${http}` },
    http: { listen: `127.0.0.1:${http}` },
    tariffs: [{ id: "visit", currency: "EUR", setupFee: "0.10" }],
    services: ids.map((id) => ({ id, tariff: "visit", ...services.find((one) => one.id === id) })),
    appServers: opened.map(({ uri }, i) => ({
      id: `shop${i}`,
      uri,
      services: [...shops[i]!.services],
      priority: i,
      ...more.appServer,
    })),
    ...sections,
  };
  relay = await openPortal({
    config: settings,
    prepare: async (store) => {
      for (const { key } of keys) await store.appServerKeys.put(key);
      await more.prepare?.(store);
    },
  });
  const log = pino({ level: "silent" });
  const api = new Api({ config: configSchema.parse({ portal: { domain: DOMAIN }, ...settings }), log });
  api.serve(relay.relay);
  const server = await api.listen({ address: "127.0.0.1", port: http });
  const alice = createClient({ relay: relay.uri, user: USER, password: PASSWORD, domain: DOMAIN });
  const portal = relay;
  onTestFinished(async () => {
    await alice.close();
    await portal.close();
    await server.close();
    await Promise.all(opened.map((shop) => shop.close()));
  });
  return { portal, alice, shops: opened, http };
}
