import type { Binding } from "../../registrar/binding.ts";
import type { Change } from "../../registrar/bindings.ts";
import { contactOf } from "../../registrar/gruu.ts";
import { type RegisterRefusal, readRegister, type WantedContact } from "../../registrar/read-register.ts";
import { parseNameAddr, splitList } from "../../sip/headers.ts";
import { type SipRequest, SipResponse } from "../../sip/message.ts";
import { NO_PARAMS } from "../../sip/params.ts";
import { reasonPhrase } from "../../sip/response.ts";
import { detach } from "../../sip/text.ts";
import { effectivePort, formatUri, type SipUri, sipUriOf, transportOf } from "../../sip/uri.ts";
import { sameHost } from "../../support/address.ts";
import { shown, shownUris } from "../../support/peer-log.ts";
import type { NewRequest, ServerTransaction } from "../../transaction/types.ts";
import { OPEN_TRANSPORTS } from "../../transport/kinds.ts";
import { whyUnreachable } from "../../transport/resolve.ts";
import { isKnown, wayBack } from "../dialog/contact.ts";
import { placeOf } from "../dialog/dialog.ts";
import { hasOption } from "../dialog/passing.ts";
import { laterStatus, reply } from "../dialog/reply.ts";
import { whenSignedIn } from "../leg/sign-in.ts";
import type { Core } from "../model/core.ts";
import { isOfAppServer, takeAppServer } from "./register-app-server.ts";

/*
 * The registrar (RFC 3261 §10.3): which addresses a user's devices have. A device that comes by a connection is reached
 * by that connection alone (RFC 5626), one behind a NAT where it came from, one behind a proxy by its Path (RFC 3327).
 */

/** What a client may demand by Require, since the registrar does it. */
export const REGISTRAR_OPTIONS: readonly string[] = ["path", "gruu", "outbound"];

const MAX_PATHS = 8;
const MAX_PATH_CHARS = 2_048;
const MAX_NAME = 128;
/** How many temporary GRUUs of a device stay valid, beside the newest (RFC 5627 §3.1). */
const MAX_TEMPS = 4;

/** A REGISTER outside of dialogs. Its sender signs in as with any request, and may register no other user. */
export function takeRegister(core: Core, transaction: NewRequest): void {
  const { request } = transaction;
  const target = request.target;
  // RFC 3261 §10.3, step 1: the relay is no proxy to other domains.
  if (!target || target.scheme === "other" || !core.directory.isPortal(target.host)) {
    refuse(core, transaction, { status: 404, reason: "Domain Is Not This Portal's" });
    return;
  }
  if (isOfAppServer(request)) {
    takeAppServer(core, transaction, (why, appServer) => refuse(core, transaction, why, appServer));
    return;
  }
  whenSignedIn(core, core.authenticator, transaction, (user) => register(core, transaction, user));
}

function register(core: Core, transaction: ServerTransaction, user: string): void {
  const { request, flow } = transaction;
  const to = request.to && sipUriOf(request.to.uri);
  // RFC 3261 §10.3, steps 4 and 5
  if (!to || !core.authenticator.names(to, user)) {
    refuse(core, transaction, { status: 403, reason: "To Is Not The User Who Signed In" }, user);
    return;
  }
  const { registrar, limits } = core.config;
  const wanted = readRegister(request.headers, registrar, limits.contactsPerUser);
  if (!wanted.ok) {
    refuse(core, transaction, wanted.error, user);
    return;
  }
  const now = core.clock.monotonic();
  const { bindings } = core;
  const { everything, contacts } = wanted.value;
  const callId = detach(request.callId);
  const cseq = request.cseq?.number ?? 0;
  let changes: readonly Change[];
  if (everything) changes = bindings.of(user, now).map(({ key }) => ({ key, binding: undefined }));
  else {
    const path = request.headers.all("path").flatMap(splitList);
    const why = contacts.some(({ expiresS }) => expiresS > 0) ? whyNot(core, transaction, contacts, path) : undefined;
    if (why) {
      refuse(core, transaction, why, user);
      return;
    }
    const device = deviceOf(core, transaction, { user, to, callId, cseq, path: path.map(detach), now });
    changes = contacts.map((contact) => ({
      key: contact.key,
      binding: contact.expiresS === 0 ? undefined : device(contact),
    }));
  }
  const outcome = bindings.change(user, { callId, cseq }, changes, now);
  if (outcome === "order") {
    refuse(core, transaction, { status: 500, reason: "CSeq Is Not Higher Than Before" }, user);
    return;
  }
  if (outcome === "full") {
    refuse(core, transaction, { status: laterStatus(request), headers: [["Retry-After", "60"]] }, user);
    return;
  }
  if (flow.reliable) flow.proven = true;
  core.counters.registers++;
  transaction.respond(answer(core, request, bindings.of(user, now), now));
}

/** Why the Contacts of a REGISTER cannot be taken; undefined: they can. */
function whyNot(
  core: Core,
  { request, flow }: ServerTransaction,
  contacts: readonly WantedContact[],
  path: readonly string[],
): RegisterRefusal | undefined {
  if (path.length > MAX_PATHS || path.join().length > MAX_PATH_CHARS)
    return { status: 400, reason: "Path Is Too Long" };
  const proxies = path.map((text) => {
    const address = parseNameAddr(text);
    return address.ok ? sipUriOf(address.value.uri) : undefined;
  });
  if (proxies.includes(undefined)) return { status: 400, reason: "Bad Path" };
  if (core.reach.isAppServer({ address: flow.remoteAddress, port: flow.remotePort }))
    return { status: 403, reason: "An App Server Is No Client" };
  const named = [...contacts.map(({ uri }) => uri), ...(proxies as SipUri[])];
  if (named.some((uri) => core.reach.namesAppServer(uri)))
    return { status: 403, reason: "Contact Is Not The Client's" };
  const isKnownWay = isKnown(wayBack(request, flow, path.length > 0));
  for (const { uri } of contacts) {
    // RFC 3261 §26.2.2
    if (uri.scheme === "sips" && !flow.secure && path.length === 0)
      return { status: 400, reason: "A sips Contact Needs TLS" };
    if (!isKnownWay && path.length === 0 && whyUnreachable(uri, OPEN_TRANSPORTS))
      return { status: 400, reason: "Contact Cannot Be Reached" };
  }
  const first = proxies[0];
  return first && !flow.reliable && whyUnreachable(first, OPEN_TRANSPORTS)
    ? { status: 400, reason: "Path Cannot Be Reached" }
    : undefined;
}

/** Makes bindings of the Contacts of one REGISTER. */
function deviceOf(
  core: Core,
  { request, flow }: ServerTransaction,
  of: Pick<Binding, "user" | "callId" | "cseq" | "path"> & { readonly to: SipUri; readonly now: number },
): (contact: WantedContact) => Binding {
  const { to, now, ...common } = of;
  const way = wayBack(request, flow, common.path.length > 0);
  const isByProxy = common.path.length > 0 || request.headers.count("via") > 1;
  const aor = detach(formatUri({ ...to, password: undefined, port: undefined, params: NO_PARAMS, headers: undefined }));
  const userAgent = detach((request.headers.get("user-agent") ?? "").slice(0, MAX_NAME));
  return ({ written, uri, key, params, q, instance, regId, expiresS }) => {
    const before = core.bindings.find(common.user, key);
    const temps = instance === undefined ? [] : [...(before?.temps ?? []).slice(-MAX_TEMPS), core.random.token(128)];
    return {
      ...common,
      aor,
      userAgent,
      key: detach(key),
      contact: detach(written),
      params: detach(params),
      q,
      ...(instance !== undefined && { instance: detach(instance) }),
      ...(regId !== undefined && { regId }),
      temps,
      cameFrom: placeOf(flow),
      ...(way.behind && { behind: way.behind }),
      // A proxy's connection is used where nothing else leads to the client.
      ...((flow.reliable || way.behind) && { flow }),
      survives: !flow.reliable || isByProxy || (regId === undefined && listensThere(uri, flow)),
      since: now,
      until: now + expiresS * 1000,
    };
  };
}

/** Whether a client takes connections at its Contact. A Contact of the connection's own port says nothing of that. */
function listensThere(uri: SipUri, { reliable, remoteAddress, remotePort }: ServerTransaction["flow"]): boolean {
  if (!reliable || uri.params.has("ob") || transportOf(uri) === "ws") return false;
  return sameHost(uri.host, remoteAddress) && effectivePort(uri) !== remotePort;
}

/** RFC 3261 §10.3, step 8: the 200 lists all bindings of the user. */
function answer(core: Core, request: SipRequest, all: readonly Binding[], now: number): SipResponse {
  const response = new SipResponse(200, reasonPhrase(200));
  const { headers } = response;
  const gruus = hasOption(request.headers, "supported", "gruu") || hasOption(request.headers, "require", "gruu");
  let isFlow = false;
  for (const binding of all) {
    const { regId, until } = binding;
    headers.add("Contact", contactOf(binding, Math.max(1, Math.round((until - now) / 1000)), gruus));
    if (regId !== undefined && binding.callId === request.callId) isFlow = true;
  }
  // RFC 5626 §6: so the client knows that its flow counts, and watches it.
  if (isFlow && hasOption(request.headers, "supported", "outbound")) headers.add("Require", "outbound");
  headers.add("Supported", REGISTRAR_OPTIONS.join(", "));
  // RFC 3327 §5.3
  if (hasOption(request.headers, "supported", "path"))
    for (const path of request.headers.all("path")) headers.add("Path", path);
  headers.add("Date", new Date(core.clock.wall()).toUTCString()); // RFC 3261 §20.17: clients without a clock
  return response;
}

/** `user`: who signed in. */
function refuse(core: Core, transaction: ServerTransaction, why: RegisterRefusal, user?: string): void {
  const { status, reason, headers } = why;
  const { request, flow } = transaction;
  core.counters.registersRefused++;
  reply(transaction, status, headers, reason);
  const contact = shownUris(request.headers.get("contact") ?? "");
  const facts = { user, callId: shown(request.callId), from: flow.id, status, why: reason, contact };
  core.peerLog.info("a REGISTER is refused", user ?? flow.remoteAddress, facts);
}
