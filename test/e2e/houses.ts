import { onTestFinished } from "vitest";
import { type AppSession, type Client, createClient, type ServiceHandler, serve } from "../../src/sdk/index.ts";
import { DOMAIN, openPortal, PASSWORD, type Portal, USER } from "./portal.ts";

/** What one app server serves. */
export type Services = Readonly<Record<string, ServiceHandler>>;

/**
 * App servers on SIP.js (`server0`, `server1`, ...), a relay, and a client on SIP.js, all over TCP; closed when the
 * test is over. A session costs 0.10, of beer 0.20; books are asked for at all that have them.
 */
export async function openHouses(...servers: readonly Services[]): Promise<{ portal: Portal; alice: Client }> {
  const started = await Promise.all(
    servers.map((services) => serve({ listen: { host: "127.0.0.1", port: 0 }, services })),
  );
  const ids = [...new Set(servers.flatMap(Object.keys))];
  const portal = await openPortal({
    config: {
      tariffs: ids.map((id) => ({ id, currency: "EUR", setupFee: id === "beer" ? "0.20" : "0.10" })),
      services: ids.map((id) => ({ id, tariff: id, fork: id === "books" ? "all" : "sequential" })),
      appServers: started.map(({ uri }, i) => ({ id: `server${i}`, uri, services: Object.keys(servers[i]!) })),
    },
  });
  const alice = createClient({ relay: portal.uri, user: USER, password: PASSWORD, domain: DOMAIN });
  onTestFinished(async () => {
    await alice.close();
    await portal.close();
    await Promise.all(started.map((server) => server.close()));
  });
  return { portal, alice };
}

/** Accepts at once; `sessions` gets what stands. */
export const accepts = (url: string, sessions: AppSession[] = []): ServiceHandler => {
  return async (request) => void sessions.push(await request.accept({ url }));
};

/** What the bill says of each session: its service, app server and price, and what was sold in it. Stops the relay. */
export async function billed(portal: Portal): Promise<{ sessions: string[]; calls: string[] }> {
  const bill = await portal.bill();
  const sessions = bill.services.flatMap(({ service, sessions }) =>
    sessions.map(({ appServer, time, items }) =>
      [`${service} by ${appServer}: ${time?.amount}`, ...items.map(({ item, amount }) => `${item} ${amount}`)].join(
        ", ",
      ),
    ),
  );
  const calls = bill.calls.map(({ parts, totals }) =>
    [parts.map(({ service }) => service).join(" > "), ...totals.map(({ amount }) => amount)].join(": "),
  );
  return { sessions: sessions.sort(), calls };
}
