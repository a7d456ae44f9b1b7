import { readFileSync } from "node:fs";
import type { RequestListener } from "node:http";
import type { Hono } from "hono";
import type { Config } from "../config/schema.ts";
import type { Relay } from "../node/relay.ts";
import type { Caller, OperationContext } from "../operations/context.ts";
import { Audit } from "../operations/perform.ts";
import { systemClock } from "../support/clock.ts";
import type { Logger } from "../support/log.ts";
import { PeerLog } from "../support/peer-log.ts";
import { systemRandom } from "../support/random.ts";
import type { Viewer } from "../trace/watching.ts";
import { ApiSignIn } from "./api-sign-in.ts";
import { createApp } from "./app.ts";
import { AppServerSignIn } from "./app-server-sign-in.ts";
import { ChargeDesk } from "./charge-desk.ts";
import { addChargesApi } from "./charges-api.ts";
import { EventStreams, type WatchElsewhere } from "./event-stream.ts";
import { addEventsRoute } from "./events-route.ts";
import { type Env, type HttpServer, listenerOf, startHttp } from "./http.ts";
import { addIdentityRoutes } from "./identity-routes.ts";
import { addMetricsRoute } from "./metrics.ts";
import { addOperationRoutes, OperationDesk } from "./operation-routes.ts";
import { addPageRoutes } from "./page-routes.ts";
import { addProbeRoutes } from "./probes.ts";
import { addProvisioningRoute } from "./provisioning-routes.ts";
import { addSessionActs, SessionActs } from "./session-acts.ts";

/** What is asked of a relay by HTTP. */
export type ApiRelay = Pick<Relay, "charging" | "identity" | "metrics"> &
  Partial<Pick<Relay, "act" | "provision" | "token">>;

type ApiConfig = Pick<Config, "http" | "portal"> & Partial<Pick<Config, "trustedProxies" | "store" | "bus">>;

/** Everything that a relay offers by HTTP: one application, by the socket in its data folder and by TCP. */
export class Api {
  private readonly config: ApiConfig;
  private readonly log: Logger;
  private readonly peerLog: PeerLog;
  private readonly app: Hono<Env>;
  private readonly streams: EventStreams;
  private relay: ApiRelay | undefined;
  private desk: ChargeDesk | undefined;
  private acts: SessionActs | undefined;

  constructor(options: {
    readonly config: ApiConfig;
    readonly log: Logger;
    /** What the operators' operations work on; undefined: the relay is not ready yet. Default: it never is. */
    readonly context?: (caller: Caller) => OperationContext | undefined;
    /** Shows calls as they happen; default: there are none. */
    readonly watch?: (viewer: Viewer) => (() => void) | undefined;
    /** The same at the other nodes of a cluster; default: there are none. */
    readonly watchAround?: WatchElsewhere;
    /** The environment, where secrets may be; default: that of the process. */
    readonly env?: NodeJS.ProcessEnv;
  }) {
    const { config, log, context = () => undefined, watch = () => undefined, env = process.env } = options;
    this.config = config;
    this.log = log;
    this.peerLog = new PeerLog({ log, clock: systemClock });
    const { metrics, metricsTokenFile } = config.http;
    const metricsToken = metricsTokenFile === undefined ? env.TOLLGATE_METRICS_TOKEN : firstLine(metricsTokenFile);
    if (config.http.listen && metrics === "loopback" && config.http.plain && !metricsToken)
      log.warn(
        "http: nobody can read /metrics, since http.plain says that a proxy asks for others: set http.metricsTokenFile, or http.metrics: all",
      );
    const clock = systemClock;
    const token = (name: string) => this.relay?.token?.(name);
    // Where one machine is all there is, whoever works on it may look.
    const loopbackReads = config.http.loopbackReads && config.store === undefined && config.bus === undefined;
    const signIn = new ApiSignIn({ token, loopbackReads, clock, peerLog: this.peerLog });
    const audit = new Audit(
      () => clock.monotonic(),
      (error) => this.peerLog.error("the audit log cannot be written", "", { err: error }),
    );
    const desk = new OperationDesk({ signIn, audit, clock, perSecond: config.http.perSecond, context });
    this.streams = new EventStreams({ watch, around: options.watchAround, clock, newId: () => systemRandom.token(64) });
    this.app = createApp((app) => {
      addEventsRoute(app, desk, this.streams, audit);
      addOperationRoutes(app, desk);
      addChargesApi(app, { answer: (report) => this.desk!.answer(report) });
      addSessionActs(app, () => this.acts);
      addProvisioningRoute(app, (token) => this.relay?.provision?.(token));
      addIdentityRoutes(app, () => this.relay?.identity);
      addProbeRoutes(app, () => this.relay);
      addPageRoutes(app);
      addMetricsRoute(app, { metrics: () => this.relay?.metrics() ?? NOTHING }, metrics, metricsToken || undefined);
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

  /** Ends what does not end by itself. */
  close(): void {
    this.streams.close();
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
