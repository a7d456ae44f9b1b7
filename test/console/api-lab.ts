import { join } from "node:path";
import { pino } from "pino";
import { configSchema } from "../../src/config/schema.ts";
import { Api } from "../../src/console/api.ts";
import type { HttpServer } from "../../src/console/http.ts";
import type { ApiToken } from "../../src/directory/types.ts";
import { Everywhere, type EverywhereOptions, type Here } from "../../src/node/everywhere.ts";
import { TracesAround } from "../../src/node/traces-around.ts";
import { TracesHere } from "../../src/node/traces-here.ts";
import type { OperatedRelay, OperationContext } from "../../src/operations/context.ts";
import type { TokenRole } from "../../src/operations/rights.ts";
import { createToken } from "../../src/operations/tokens.ts";
import { openEmbeddedStore } from "../../src/store/embedded.ts";
import type { Store } from "../../src/store/types.ts";
import { systemClock } from "../../src/support/clock.ts";
import { systemRandom } from "../../src/support/random.ts";
import { Traces } from "../../src/trace/traces.ts";
import type { Viewer } from "../../src/trace/watching.ts";
import { type Answered, ask, temporaryFolder } from "./http-lab.ts";

/** A relay that is alone, or what a test says, and has nothing to do but to be asked. */
export function idleRelay({ here, ...over }: Partial<OperatedRelay> & { here?: Partial<Here> } = {}): OperatedRelay {
  return {
    everywhere: everywhereOf(here),
    registrations: () => [],
    unregister: () => 0,
    usage: async () => [],
    watch: { watch: () => () => {}, around: () => undefined },
    nodes: () => [],
    lockOuts: () => [],
    liftLockOuts: () => 0,
    traces: new TracesAround(noTraces(), everywhereOf(here)),
    appServers: () => [],
    metrics: () => ({ counters: { requests: 1 }, gauges: { sessions: 0, draining: 0 } }),
    chartCounts: () => ({ since: 0, charts: {} }),
    drain: () => {},
    ...over,
  };
}

const noTraces = () => new TracesHere(new Traces(() => () => {}), Date.now);

/** What a node has, and asks others for. */
export function everywhereOf(here: Partial<Here> = {}, more: Partial<EverywhereOptions> = {}): Everywhere {
  return new Everywhere({
    ...{ node: "", bus: {}, clock: systemClock, random: systemRandom, peerLog: { warn: () => {} }, others: () => [] },
    here: {
      sessions: () => [],
      endSession: (id) => id === "s1",
      present: () => [],
      calls: async () => [],
      story: () => undefined,
      traces: noTraces(),
      metrics: () => ({ counters: { requests: 1 }, gauges: { sessions: 0, draining: 0 } }),
      ...here,
    },
    ...more,
  });
}

/** The HTTP API on a store of its own, with a relay that does nothing. */
export class ApiLab {
  readonly store: Store;
  readonly api: Api;
  readonly config;
  readonly tokens = new Map<string, ApiToken>();
  readonly viewers = new Set<Viewer>();
  now = Date.UTC(2026, 0, 15);
  private readonly folder: { readonly path: string; remove(): void };
  private readonly relay: OperatedRelay;
  private server!: HttpServer;

  private constructor(folder: ApiLab["folder"], store: Store, settings: object, relay: OperatedRelay) {
    this.folder = folder;
    this.store = store;
    this.relay = relay;
    this.config = configSchema.parse({ http: { listen: "127.0.0.1:0", perSecond: 0 }, ...settings });
    this.api = new Api({
      config: this.config,
      log: pino({ level: "silent" }),
      context: (caller) => ({ ...this.context, caller }),
      watch: (viewer) => {
        this.viewers.add(viewer);
        return () => this.viewers.delete(viewer);
      },
      env: {},
    });
  }

  static async create(settings: object = {}, relay: OperatedRelay = idleRelay()): Promise<ApiLab> {
    const folder = temporaryFolder();
    const store = await openEmbeddedStore(join(folder.path, "store"));
    const lab = new ApiLab(folder, store, settings, relay);
    lab.api.serve({
      charging: {} as never,
      identity: undefined,
      metrics: relay.metrics,
      token: (name) => lab.tokens.get(name),
    });
    lab.server = await lab.api.listen(lab.config.http.listen!);
    return lab;
  }

  get port(): number {
    return this.server.port;
  }

  get context(): OperationContext {
    const { config, store, relay } = this;
    const caller = { name: "test", role: "owner", from: "test" } as const;
    return { config, configName: "tollgate.yaml", store, relay, caller, now: () => this.now };
  }

  /** Makes a token; it is known at once. */
  async token(role: TokenRole, more: { readonly expiresDays?: number; readonly name?: string } = {}): Promise<string> {
    if (role === "app-server") await this.store.appServers.put({ id: "shop", uri: "sip:127.0.0.1:5070", services: [] });
    const { name = `a-${role}`, expiresDays } = more;
    const appServer = role === "app-server" ? "shop" : undefined;
    const made = await createToken.run(this.context, { name, role, expiresDays, appServer });
    for (const token of await this.store.tokens.list()) this.tokens.set(token.id, token);
    return made.token;
  }

  ask(
    method: string,
    path: string,
    more: {
      readonly token?: string | undefined;
      readonly body?: unknown;
      readonly headers?: Record<string, string>;
    } = {},
  ): Promise<Answered> {
    const { token, body, headers = {} } = more;
    const authorization = token === undefined ? {} : { authorization: `Bearer ${token}` };
    const content = body === undefined ? "" : typeof body === "string" ? body : JSON.stringify(body);
    const type = body === undefined ? {} : { "content-type": "application/json" };
    return ask({ port: this.port }, method, path, { ...type, ...authorization, ...headers }, content);
  }

  async close(): Promise<void> {
    this.api.close();
    await this.server.close();
    await this.store.close();
    this.folder.remove();
  }
}
