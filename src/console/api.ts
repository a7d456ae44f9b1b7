import { readFileSync } from "node:fs";
import type { RequestListener } from "node:http";
import type { Hono } from "hono";
import type { Config } from "../config/schema.ts";
import type { Relay } from "../node/relay.ts";
import { systemClock } from "../support/clock.ts";
import type { Logger } from "../support/log.ts";
import { PeerLog } from "../support/peer-log.ts";
import type { Viewer } from "../trace/watching.ts";
import { createApp } from "./app.ts";
import { AppServerSignIn } from "./app-server-sign-in.ts";
import { ChargeDesk } from "./charge-desk.ts";
import { addChargesApi } from "./charges-api.ts";
import { type Env, type HttpServer, listenerOf, startHttp } from "./http.ts";
import { addIdentityRoutes } from "./identity-routes.ts";
import { addMetricsRoute } from "./metrics.ts";
import { addOwnerRoutes, type OwnerHandler } from "./owner-routes.ts";
import { addPageRoutes } from "./page-routes.ts";
import { addProbeRoutes } from "./probes.ts";
import { addSessionActs, SessionActs } from "./session-acts.ts";
import { addWatchRoute } from "./watch-route.ts";

/** What is asked of a relay by HTTP. */
export type ApiRelay = Pick<Relay, "charging" | "identity" | "metrics"> & Partial<Pick<Relay, "act">>;

type ApiConfig = Pick<Config, "http" | "portal"> & Partial<Pick<Config, "trustedProxies">>;

/** Everything that a relay offers by HTTP: one application, by the socket in its data folder and by TCP. */
export class Api {
  private readonly config: ApiConfig;
  private readonly log: Logger;
  private readonly peerLog: PeerLog;
  private readonly app: Hono<Env>;
  private relay: ApiRelay | undefined;
  private desk: ChargeDesk | undefined;
  private acts: SessionActs | undefined;

  constructor(options: {
    readonly config: ApiConfig;
    readonly log: Logger;
    /** The requests of the data folder's owner, by method and path: `"GET /sessions"`. Default: none. */
    readonly owner?: Readonly<Record<string, OwnerHandler>>;
    /** Shows calls as they happen to the owner of the data folder; default: there are none. */
    readonly watch?: (viewer: Viewer) => (() => void) | undefined;
    /** The environment, where secrets may be; default: that of the process. */
    readonly env?: NodeJS.ProcessEnv;
  }) {
    const { config, log, owner = {}, watch = () => undefined, env = process.env } = options;
    this.config = config;
    this.log = log;
    this.peerLog = new PeerLog({ log, clock: systemClock });
    const { metrics, metricsTokenFile } = config.http;
    const token = metricsTokenFile === undefined ? env.TOLLGATE_METRICS_TOKEN : firstLine(metricsTokenFile);
    if (config.http.listen && metrics === "loopback" && config.http.plain && !token)
      log.warn(
        "http: nobody can read /metrics, since http.plain says that a proxy asks for others: set http.metricsTokenFile, or http.metrics: all",
      );
    this.app = createApp((app) => {
      addOwnerRoutes(app, owner);
      addWatchRoute(app, watch);
      addChargesApi(app, { answer: (report) => this.desk!.answer(report) });
      addSessionActs(app, () => this.acts);
      addIdentityRoutes(app, () => this.relay?.identity);
      addProbeRoutes(app, () => this.relay);
      addPageRoutes(app);
      addMetricsRoute(app, { metrics: () => this.relay?.metrics() ?? NOTHING }, metrics, token || undefined);
    }, this.peerLog);
  }

  /** Tells the application that the relay runs. Call it before `listen`. */
  serve(relay: ApiRelay, desk = createChargeDesk(this.config, relay, this.peerLog)): void {
    this.relay = relay;
    this.desk = desk;
    const { act } = relay;
    if (!act) return;
    const { config, peerLog } = this;
    this.acts = new SessionActs({ act, ...config, keys: relay.charging, clock: systemClock, peerLog });
  }

  /** Answers requests by the socket. Only the owner of the data folder can open it. */
  get bySocket(): RequestListener {
    const listener = listenerOf(this.app, { door: "socket" });
    return (incoming, outgoing) => void listener(incoming, outgoing);
  }

  /** Listens by TCP. Rejects where the address is taken or the certificate is bad. */
  listen(listen: NonNullable<Config["http"]["listen"]>): Promise<HttpServer> {
    const { config, log, peerLog, app } = this;
    return startHttp({
      config: { ...config.http, listen },
      ...(config.trustedProxies && { trustedProxies: config.trustedProxies }),
      log,
      peerLog,
      app,
    });
  }
}

const NOTHING = { counters: {}, gauges: {} };

/** Takes reports of charges, by any way (M17). */
export function createChargeDesk(
  config: Pick<Config, "http" | "portal">,
  { charging }: Pick<Relay, "charging">,
  peerLog?: PeerLog,
): ChargeDesk {
  const clock = systemClock;
  const signIn = new AppServerSignIn({
    keys: charging,
    portalRealm: config.portal.realm,
    clock,
    ...(peerLog && { peerLog }),
  });
  const { perSecond } = config.http;
  const elsewhere = charging.ratesElsewhere?.(perSecond);
  return new ChargeDesk({ direct: charging.direct, signIn, clock, perSecond, elsewhere, keys: charging.keysElsewhere });
}

/** Throws if the file cannot be read: then the relay does not start. */
const firstLine = (path: string): string => readFileSync(path, "utf8").split(/\r?\n/, 1)[0]!.trim();
