import type { AppServer } from "../directory/types.ts";
import { takeRest } from "../relay/leg/rest.ts";
import { whySilent } from "../relay/leg/silence.ts";
import type { Core } from "../relay/model/core.ts";
import { Headers, SipRequest } from "../sip/message.ts";
import { parseUri } from "../sip/uri.ts";
import type { TimerHandle } from "../support/clock.ts";
import { provenAs } from "../transport/types.ts";

const MAX_ADDRESSES = 4;

/**
 * Asks each app server by OPTIONS whether it is there (RFC 3261 §11), and tells the directory, so that a request does
 * not wait for an app server that is away. Any answer except 408 and 503 counts: an app server that does not know
 * OPTIONS is up, too.
 */
export class HealthChecks {
  private readonly core: Core;
  private readonly missed = new Map<string, number>();
  private timer: TimerHandle;

  constructor(core: Core) {
    this.core = core;
  }

  start(): void {
    const { intervalS } = this.core.config.health;
    if (intervalS === 0) return;
    this.round();
    this.timer = this.core.clock.setTimeout(() => this.start(), intervalS * 1000);
  }

  stop(): void {
    this.core.clock.clearTimeout(this.timer);
  }

  private round(): void {
    const { core } = this;
    const servers = core.directory.appServers();
    const known = new Set(servers.map((server) => server.id));
    for (const id of this.missed.keys()) if (!known.has(id)) this.missed.delete(id);
    // RFC 3261 §21.5.4: an app server that has asked for a rest gets no other requests.
    for (const server of servers) if (core.directory.restsForMs(server.id) === 0) this.ask(server);
  }

  /** `at`: which of its addresses is asked. It is away if it answers at none (RFC 3263 §4.3). */
  private ask(server: AppServer, at = 0): void {
    const { core } = this;
    const { id, uri: target } = server;
    const uri = parseUri(target);
    if (!uri.ok || uri.value.scheme === "other") return;
    core.resolve(uri.value, (destinations) => {
      const destination = destinations[at] && provenAs(destinations[at], server.certificate);
      if (!destination) {
        this.silent(id, "its name does not resolve");
        return;
      }
      const isLast = at + 1 >= Math.min(destinations.length, MAX_ADDRESSES);
      const away = (why: string) => (isLast ? this.silent(id, why) : this.ask(server, at + 1));
      const portal = `sip:${core.config.portal.domains[0]}`;
      const headers = new Headers()
        .add("From", `<${portal}>;tag=${core.random.token(64)}`)
        .add("To", `<${target}>`)
        .add("Call-ID", `${core.random.token(96)}@tollgate`)
        .add("CSeq", "1 OPTIONS")
        .add("Max-Forwards", "70")
        .add("Contact", `<sip:${core.transport.contactTowards(destination)}>`)
        .add("Accept", "*/*");
      const asked = core.transactions.send(new SipRequest("OPTIONS", target, headers), destination, {
        final: (response) => {
          const { status } = response;
          if (isLast || status !== 503) takeRest(core, server, response);
          if (status === 408 || status === 503) away(`answered ${status}`);
          else this.heard(id);
        },
        timeout: () => away(whySilent(core, asked.flow, 64 * core.config.timers.t1Ms)),
        transportError: away,
      });
    });
  }

  private heard(id: string): void {
    const { failures } = this.core.config.health;
    if ((this.missed.get(id) ?? 0) >= failures) this.core.log.info({ appServer: id }, "app server is up again");
    this.missed.delete(id);
    this.core.directory.markHealth(id, "up");
  }

  private silent(id: string, why: string): void {
    const { failures } = this.core.config.health;
    const missed = (this.missed.get(id) ?? 0) + 1;
    this.missed.set(id, missed);
    if (missed !== failures) return;
    this.core.log.warn({ appServer: id, why }, "app server is down");
    this.core.directory.markHealth(id, "down");
  }
}
