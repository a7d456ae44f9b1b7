import { SERVICE_HEADER } from "../../charging/charges/header-names.ts";
import { ofAppServer, PLACE } from "../../registrar/app-servers.ts";
import type { Binding } from "../../registrar/binding.ts";
import { type RegisterRefusal, readRegister, type WantedContact } from "../../registrar/read-register.ts";
import { splitList } from "../../sip/headers.ts";
import { type SipRequest, SipResponse } from "../../sip/message.ts";
import { reasonPhrase } from "../../sip/response.ts";
import { detach } from "../../sip/text.ts";
import { formatUri } from "../../sip/uri.ts";
import { canonicalAddress, canonicalHost, sameHost } from "../../support/address.ts";
import type { NewRequest } from "../../transaction/types.ts";
import { whyUnreachable } from "../../transport/resolve.ts";
import { type Flow, TRANSPORTS } from "../../transport/types.ts";
import { placeOf } from "../dialog/dialog.ts";
import { laterStatus } from "../dialog/reply.ts";
import { whenAppServer } from "../leg/sign-in.ts";
import type { Core } from "../model/core.ts";

/*
 * REGISTER of an app server, in place of `appServers` in the configuration: Contact says where it takes INVITEs, and
 * Tollgate-Service which services it serves, of those that its key allows. An app server has one place: a second
 * REGISTER moves it there.
 */

const HEADER = SERVICE_HEADER.toLowerCase();

/** Whether a REGISTER is an app server's, whoever sends it. */
export const isOfAppServer = (request: SipRequest): boolean => request.headers.has(HEADER);

export function takeAppServer(
  core: Core,
  transaction: NewRequest,
  refuse: (why: RegisterRefusal, appServer?: string) => void,
): void {
  whenAppServer(core, transaction, (id, key) => {
    const { request, flow } = transaction;
    const { bindings, directory, config } = core;
    const services = request.headers.all(HEADER).flatMap(splitList);
    const may = new Set(key.serves);
    if (services.length === 0 || !services.every((one) => may.has(one) && directory.service(one))) {
      refuse({ status: 403, reason: "The Key Does Not Allow These Services" }, id);
      return;
    }
    if (directory.appServer(id) && directory.isRegistered(id) !== true) {
      refuse({ status: 403, reason: "This App Server Is Configured" }, id);
      return;
    }
    const read = readRegister(request.headers, config.registrar, 1);
    if (!read.ok) {
      refuse(read.error, id);
      return;
    }
    const now = core.clock.monotonic();
    const user = ofAppServer(id);
    const count = { callId: detach(request.callId), cseq: request.cseq?.number ?? 0 };
    const [contact] = read.value.contacts;
    const why = contact && contact.expiresS > 0 ? whyNot(core, contact, flow) : undefined;
    if (why) {
      refuse(why, id);
      return;
    }
    if (contact || read.value.everything) {
      const binding = contact && contact.expiresS > 0 ? bindingFor(contact) : undefined;
      const outcome = bindings.change(user, count, [{ key: PLACE, binding }], now);
      if (outcome !== "done") {
        const full = { status: laterStatus(request), headers: [["Retry-After", "60"]] } as const;
        refuse(outcome === "full" ? full : { status: 500, reason: "CSeq Is Not Higher Than Before" }, id);
        return;
      }
      core.counters.registers++;
      const facts = { appServer: id, uri: binding?.contact, services: binding?.services };
      core.peerLog.info(binding ? "an app server has registered" : "an app server has left", id, facts);
    }
    const response = new SipResponse(200, reasonPhrase(200));
    for (const { contact: uri, until, services: served = [] } of bindings.of(user, now)) {
      response.headers.add("Contact", `<${uri}>;expires=${Math.max(1, Math.round((until - now) / 1000))}`);
      response.headers.add(SERVICE_HEADER, served.join(", "));
    }
    transaction.respond(response);

    function bindingFor({ uri, expiresS }: WantedContact): Binding {
      return {
        ...count,
        user,
        key: PLACE,
        aor: user,
        contact: detach(formatUri(uri)),
        params: "",
        q: 1,
        path: [],
        userAgent: "",
        temps: [],
        cameFrom: placeOf(flow),
        survives: true,
        services: services.map(detach),
        since: now,
        until: now + expiresS * 1000,
      };
    }
  });
}

/** Why the Contact cannot be an app server's; undefined: it can. A key is no right to have INVITEs sent anywhere. */
function whyNot(core: Core, { uri }: WantedContact, flow: Flow): RegisterRefusal | undefined {
  if (whyUnreachable(uri, TRANSPORTS) || uri.params.has("maddr"))
    return { status: 400, reason: "Contact Cannot Be Reached" };
  const { host } = uri;
  const isThere =
    canonicalAddress(host) === undefined
      ? (flow.peerNames?.includes(canonicalHost(host)) ?? false)
      : sameHost(host, flow.remoteAddress);
  if (!isThere) return { status: 403, reason: "Contact Is Not Where The Request Came From" };
  return core.reach.isOwn(uri) ? { status: 403, reason: "Contact Is The Relay Itself" } : undefined;
}
