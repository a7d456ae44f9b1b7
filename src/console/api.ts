import type { Config } from "../config/schema.ts";
import type { Relay } from "../relay/relay.ts";
import { systemClock } from "../support/clock.ts";
import type { Logger } from "../support/log.ts";
import { AppServerSignIn } from "./app-server-sign-in.ts";
import { ChargeDesk } from "./charge-desk.ts";
import { addChargesApi } from "./charges-api.ts";
import { type HttpServer, startHttp } from "./http.ts";
import { addIdentityRoutes } from "./identity-routes.ts";
import { addMetricsRoute } from "./metrics.ts";

/** Serves everything that a relay offers by HTTP. */
export function serveApi(options: {
  readonly config: Pick<Config, "http" | "authentication" | "portal">;
  readonly listen: NonNullable<Config["http"]["listen"]>;
  readonly relay: Pick<Relay, "charging" | "identity" | "metrics">;
  readonly log: Logger;
  /** Default: one of its own. */
  readonly desk?: ChargeDesk;
}): Promise<HttpServer> {
  const { config, listen, relay, log, desk = createChargeDesk(config, relay) } = options;
  const { identity } = relay;
  return startHttp({
    config: { ...config.http, listen },
    log,
    routes: (app) => {
      addChargesApi(app, desk);
      if (identity) addIdentityRoutes(app, identity);
      addMetricsRoute(app, relay, config.http.metrics);
    },
  });
}

/** Takes reports of charges, whatever they come by (M17). */
export function createChargeDesk(
  config: Pick<Config, "http" | "authentication" | "portal">,
  { charging }: Pick<Relay, "charging">,
): ChargeDesk {
  const clock = systemClock;
  const { throttle } = config.authentication;
  const signIn = new AppServerSignIn({ keys: charging, portalRealm: config.portal.realm, clock, throttle });
  return new ChargeDesk({ direct: charging.direct, signIn, clock, perSecond: config.http.perSecond });
}
