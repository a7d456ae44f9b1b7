import { readFileSync } from "node:fs";
import type { Config } from "../config/schema.ts";
import type { Relay } from "../node/relay.ts";
import { systemClock } from "../support/clock.ts";
import type { Logger } from "../support/log.ts";
import { PeerLog } from "../support/peer-log.ts";
import { AppServerSignIn } from "./app-server-sign-in.ts";
import { ChargeDesk } from "./charge-desk.ts";
import { addChargesApi } from "./charges-api.ts";
import { type HttpServer, startHttp } from "./http.ts";
import { addIdentityRoutes } from "./identity-routes.ts";
import { addMetricsRoute } from "./metrics.ts";

/** Serves everything that a relay offers by HTTP. */
export function serveApi(options: {
  readonly config: Pick<Config, "http" | "portal"> & Partial<Pick<Config, "trustedProxies">>;
  readonly listen: NonNullable<Config["http"]["listen"]>;
  readonly relay: Pick<Relay, "charging" | "identity" | "metrics">;
  readonly log: Logger;
  /** Default: one of its own. */
  readonly desk?: ChargeDesk;
  /** Where secrets may be; default the process's own. */
  readonly env?: NodeJS.ProcessEnv;
}): Promise<HttpServer> {
  const { config, listen, relay, log, env = process.env } = options;
  const peerLog = new PeerLog({ log, clock: systemClock });
  const desk = options.desk ?? createChargeDesk(config, relay, peerLog);
  const { metrics, metricsTokenFile, plain } = config.http;
  const token = metricsTokenFile === undefined ? env.TOLLGATE_METRICS_TOKEN : firstLine(metricsTokenFile);
  if (metrics === "loopback" && plain && !token)
    log.warn(
      "http: nobody can read /metrics, since http.plain says that a proxy asks for others: set http.metricsTokenFile, or http.metrics: all",
    );
  const { identity } = relay;
  return startHttp({
    config: { ...config.http, listen },
    ...(config.trustedProxies && { trustedProxies: config.trustedProxies }),
    log,
    peerLog,
    routes: (app) => {
      addChargesApi(app, desk);
      if (identity) addIdentityRoutes(app, identity);
      addMetricsRoute(app, relay, metrics, token || undefined);
    },
  });
}

/** Takes reports of charges, whatever they come by (M17). */
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
  return new ChargeDesk({ direct: charging.direct, signIn, clock, perSecond: config.http.perSecond });
}

/** Throws where the file cannot be read: the relay does not start then. */
const firstLine = (path: string): string => readFileSync(path, "utf8").split(/\r?\n/, 1)[0]!.trim();
