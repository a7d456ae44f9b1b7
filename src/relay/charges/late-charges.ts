import { CHARGE_JSON, CHARGE_XML, isChargeType, parseChargeBody } from "../../charging/charges/body.ts";
import type { Outcome } from "../../charging/charges/book.ts";
import { SESSION_HEADER } from "../../charging/charges/header-names.ts";
import type { SipRequest } from "../../sip/message.ts";
import { parseUri, sipUriOf, unescapeUser } from "../../sip/uri.ts";
import { canonicalHost, sameHost } from "../../support/address.ts";
import type { NewRequest, ServerTransaction } from "../../transaction/types.ts";
import type { Flow } from "../../transport/types.ts";
import { reply } from "../dialog/reply.ts";
import { whenAppServer } from "../leg/sign-in.ts";
import { contained } from "../model/contained.ts";
import type { Core } from "../model/core.ts";
import { sessionOf } from "../model/session-names.ts";
import { answerCharges } from "./charge-answers.ts";

/** User part of the Request-URI to which app servers send charges: `sip:charges@portal.example`. */
const CHARGES = "charges";

const MAX_SESSION_ID = 128;
/** Stands where an app server's id is expected. */
const LATER = Symbol("nobody can know it now");

/** Whether a MESSAGE outside of a dialog is for the relay itself: charges of an app server. */
export function isForCharges(core: Core, request: SipRequest): boolean {
  const uri = sipUriOf(request.uri);
  return uri !== undefined && unescapeUser(uri) === CHARGES && core.directory.isPortal(uri.host);
}

/**
 * M15: takes a MESSAGE outside of any dialog (RFC 3428) with charges of an app server, sent while the session runs or
 * within the time for late charges. The session is named by Tollgate-Session, or by In-Reply-To with the Call-ID of the
 * relay's dialog (RFC 3261 §20.21). The app server signs in with a key of its own, or is known by its address where the
 * operator trusts addresses, or by its certificate where the operator has named that.
 */
export function takeMessage(core: Core, transaction: NewRequest): void {
  const { request, flow } = transaction;
  const session = namedSession(request);
  const signsIn = request.headers.has("authorization");
  const mayBeKnown = core.config.charging.trustAddress || flow.peerNames !== undefined;
  if (!signsIn && mayBeKnown && session !== undefined) {
    const known = serverAt(core, session, flow).then((appServer) => {
      if (appServer === LATER) reply(transaction, 503, [["Retry-After", "5"]], "The session cannot be known now");
      else if (appServer === undefined) whenAppServer(core, transaction, () => {});
      else charge(core, transaction, appServer, session);
    });
    void contained(core, known, { transaction });
    return;
  }
  whenAppServer(core, transaction, (appServer) => charge(core, transaction, appServer, session));
}

function charge(core: Core, transaction: ServerTransaction, appServer: string, session: string | undefined): void {
  const { headers, body } = transaction.request;
  const type = headers.get("content-type") ?? "";
  if (!isChargeType(type)) {
    reply(transaction, 415, [["Accept", `${CHARGE_JSON}, ${CHARGE_XML}`]]); // RFC 3261 §21.4.13
    return;
  }
  if (session === undefined) {
    reply(transaction, 400, [], `Missing ${SESSION_HEADER} or In-Reply-To`);
    return;
  }
  const charges = parseChargeBody(type, body);
  const outcome: Promise<Outcome> = charges.ok
    ? core.direct.charge(appServer, { session, charges: charges.value, channel: "message" })
    : core.direct.refuse(appServer, session, { kind: "unreadable", text: charges.error });
  const answered = outcome.then((done) => answerCharges(transaction, done));
  void contained(core, answered, { transaction });
}

function namedSession({ headers }: SipRequest): string | undefined {
  const named = headers.get(SESSION_HEADER.toLowerCase()) ?? sessionOf(headers.get("in-reply-to") ?? "");
  const id = named?.trim();
  return id === undefined || id === "" || id.length > MAX_SESSION_ID ? undefined : id;
}

/**
 * The app server of the session, if the request comes from it: its certificate is the one that is registered, or its
 * address counts and is one of its addresses. `LATER`: this cannot be found out now.
 */
async function serverAt(core: Core, session: string, flow: Flow): Promise<string | typeof LATER | undefined> {
  const found = await core.direct.appServerOf(session);
  if (found === "later") return LATER;
  const appServer = found && core.directory.appServer(found.appServer);
  if (appServer?.certificate !== undefined && flow.peerNames?.includes(canonicalHost(appServer.certificate)))
    return appServer.id;
  if (!core.config.charging.trustAddress) return undefined;
  const uri = appServer && parseUri(appServer.uri);
  if (!uri?.ok || uri.value.scheme === "other") return undefined;
  const sip = uri.value;
  return new Promise((resolve) => {
    core.resolve(sip, (destinations) =>
      resolve(destinations.some((one) => sameHost(one.address, flow.remoteAddress)) ? appServer!.id : undefined),
    );
  });
}
