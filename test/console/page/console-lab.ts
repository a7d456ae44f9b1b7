import type { AnyStateMachine } from "xstate";
import type { ChartActor, Inspector } from "../../../src/chart/actor.ts";
import { stateText } from "../../../src/chart/state-text.ts";
import { openConsole } from "../../../src/cli/open-console.ts";
import type { Caller } from "../../../src/operations/context.ts";
import { createToken } from "../../../src/operations/tokens.ts";
import { type AppServer, type AppSession, type Client, createClient, serve } from "../../../src/sdk/index.ts";
import { DOMAIN, openPortal, PASSWORD, type Portal, USER } from "../../e2e/portal.ts";

/** A relay with its console, a wine shop that does what the test says, and a client. */
export interface Lab {
  readonly portal: Portal;
  readonly client: Client;
  /** The address of a page, for whoever has the token; without one: nobody's. */
  at(page: string, token?: string): string;
  readonly operator: string;
  token(role: "viewer" | "operator" | "biller"): Promise<string>;
  /** The session that the shop has accepted last. */
  session(): AppSession;
  /** What the shop does with the next requests; default: it accepts. */
  shop: { refuse?: readonly [status: number, reason: string] };
  /** Every state that an actor of that chart was in, one after the other, by the actor itself. */
  history(chart: string): readonly string[];
  /** The id of the record of the newest call. */
  newest(): Promise<string>;
  close(): Promise<void>;
}

export async function openLab(config: Readonly<Record<string, unknown>> = {}): Promise<Lab> {
  let session: AppSession | undefined;
  const shop: Lab["shop"] = {};
  const server: AppServer = await serve({
    listen: { host: "127.0.0.1", port: 0 },
    services: {
      wine: async (request) => {
        if (shop.refuse) request.refuse(...shop.refuse);
        else session = await request.accept({ url: "http://127.0.0.1/cellar" });
      },
    },
  });
  const portal = await openPortal({
    config: {
      calls: { messages: "always" },
      tariffs: [{ id: "visit", currency: "EUR", setupFee: "0.20" }],
      services: [{ id: "wine", title: "Wine shop", tariff: "visit" }],
      appServers: [{ id: "shop", uri: server.uri, services: ["wine"] }],
      ...config,
    },
  });
  const opened = await openConsole(portal.config, portal.relay, portal.logger, 0);
  const [base = "", query = ""] = opened.url.split("calls?token=");
  const client = createClient({ relay: portal.uri, user: USER, password: PASSWORD, domain: DOMAIN });
  const histories = new Map<string, string[]>();
  const inspector: Inspector = ({ type, actorRef }) => {
    if (type !== "@xstate.snapshot") return;
    const actor = actorRef as unknown as ChartActor<AnyStateMachine>;
    const states = histories.get(actor.logic.id) ?? [];
    histories.set(actor.logic.id, states);
    const state = stateText(actor.getSnapshot().value as never);
    if (states.at(-1) !== state) states.push(state);
  };
  portal.relay.inspectors.add(inspector);
  const { relay } = portal;
  const owner: Caller = { name: "test", role: "owner", from: "test" };
  let tokens = 0;
  return {
    portal,
    client,
    shop,
    operator: query,
    at: (page, token) =>
      `${base}${page}${token === undefined ? "" : `${page.includes("?") ? "&" : "?"}token=${token}`}`,
    async token(role) {
      const context = { config: portal.config, configName: "test", store: relay.store, relay: undefined };
      const now = () => Date.now();
      const made = await createToken.run({ ...context, caller: owner, now }, { name: `t${++tokens}`, role });
      await relay.reload();
      return made.token;
    },
    session: () => session!,
    history: (chart) => histories.get(chart) ?? [],
    async newest() {
      const calls = await relay.calls({ most: 1, user: USER });
      return calls.at(-1)!.id;
    },
    async close() {
      await client.close();
      await opened.close();
      await portal.close();
      await server.close();
    },
  };
}
