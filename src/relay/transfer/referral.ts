import type { Failure, Side } from "../../../machines/events.ts";
import { Headers, SipRequest } from "../../sip/message.ts";
import { NO_PARAMS, Params } from "../../sip/params.ts";
import { parseReferTo, parseReplaces, type ReferTo } from "../../sip/refer.ts";
import { formatUri, type SipUri } from "../../sip/uri.ts";
import { err, ok, type Result } from "../../support/result.ts";
import type { ServerTransaction } from "../../transaction/types.ts";
import { OF_BODY } from "../dialog/passing.ts";
import { isAt } from "../leg/redirect.ts";
import type { Core, SessionPort as Session } from "../model/core.ts";
import { ofSession } from "../model/log-facts.ts";

/** What an allowed REFER asks for. */
export interface Referral {
  /** The INVITE that it stands for: the second service in the Request-URI, and what the REFER says of it. */
  readonly invite: SipRequest;
  /** The first session goes on (M24). */
  readonly keep: boolean;
  /** Only these app servers may be asked. */
  readonly only?: readonly string[];
}

/** Header fields that belong to the REFER itself, or to the subscription that it makes. */
const OF_REFER = new Set(["event", "expires", "subscription-state", "accept", "allow-events"]);

/**
 * Header fields that a URI may give the request that is made of it (RFC 3261 §19.1.5), besides the body and what the
 * operator lets clients say. They tell what the request is about. They do not tell who asks, by which way, or what
 * anybody supports.
 */
const OF_URI = new Set(
  `accept-contact content-disposition content-language content-type in-reply-to mime-version priority privacy reject-contact
 request-disposition session-id subject user-to-user`.split(/\s+/),
);

/**
 * Reads a REFER that came from one end of a session (RFC 3515 §2.4.2), and checks whether it is allowed. The client may
 * go wherever the rules let it. An app server may send the client only to partners that the operator has named. The
 * error is the answer to the REFER.
 */
export function readRefer(
  core: Core,
  first: Session,
  from: Side,
  { request: refer, flow }: Pick<ServerTransaction, "request" | "flow">,
): Result<Referral, Failure> {
  const lines = refer.headers.all("refer-to");
  if (lines.length !== 1) return err({ status: 400, reason: "One Refer-To Is Needed" }); // RFC 3515 §2.4.2
  const read = parseReferTo(lines[0]!);
  if (!read.ok) return err({ status: 400, reason: read.error });
  const to = read.value;
  if (to.uri.scheme === "sips" && !flow.secure) return err({ status: 416 }); // RFC 3261 §26.2.2
  const method = to.uri.params.get("method");
  if (method !== undefined && method.toUpperCase() !== "INVITE") return err({ status: 403, reason: "Only INVITE" });
  const replaces = replacesFirst(core, first, from, to);
  if (!replaces.ok) return replaces;
  const target = targetOf(core, first, from, to.uri);
  if (!target.ok) return target;
  const keep = keepsFirst(first, to, replaces.value);
  return ok({ ...target.value, keep, invite: inviteFor(core, first, from, refer, to, target.value.uri) });
}

interface Target {
  readonly uri: string;
  readonly only?: readonly string[];
}

/** Which service the REFER asks for, and which app servers may offer it. */
function targetOf(core: Core, first: Session, from: Side, uri: SipUri): Result<Target, Failure> {
  const { headers: _, ...rest } = uri;
  const bare = { ...rest, params: new Params([...uri.params].filter(([name]) => name !== "method")) };
  if (from === "client") return ok({ uri: formatUri(bare) });
  const partners = first.appServer.mayReferTo ?? [];
  if (partners.length === 0) return err({ status: 403, reason: "No Partners" });
  // Either the partner's own address, with one of its services as the user part, or a service of the portal.
  const named = partners.find((id) => isAt(core.directory.appServer(id)?.uri, uri));
  if (named === undefined) return ok({ uri: formatUri(bare), only: partners });
  const service = {
    scheme: "sip",
    user: uri.user ?? "",
    host: core.config.portal.domains[0]!,
    params: NO_PARAMS,
  } as const;
  return ok({ uri: formatUri(service), only: [named] });
}

const NO_SESSION = { status: 403, reason: "Replaces Names No Session Of Yours" };
const NO_JOINING = { status: 403, reason: "Two Sessions Cannot Be Joined Here" };

/**
 * Whether a Replaces in the Refer-To says that the session of the REFER is to end. A Replaces that names another
 * session is an attended transfer (RFC 5589 §7): two app servers would talk to each other on the bill of a user who has
 * left, and nobody would hang up. That is refused, as Join is, and both sessions go on. Never with 481 or 408: these
 * would tell the sender of the REFER that its own session is gone (RFC 3261 §12.2.1.2).
 */
function replacesFirst(core: Core, first: Session, from: Side, { headers }: ReferTo): Result<boolean, Failure> {
  if (headers.some(([name]) => name === "join")) return err(NO_JOINING); // RFC 3911
  const lines = headers.filter(([name]) => name === "replaces");
  if (lines.length === 0) return ok(false);
  const read = parseReplaces(lines[0]![1]);
  if (!read.ok || lines.length > 1) return err({ status: 400, reason: "Bad Replaces" }); // RFC 3891 §3
  const { callId, receiverTag, senderTag, earlyOnly } = read.value;
  // The sender of the REFER knows its dialogs with the relay. It writes their tags as in an INVITE to the relay.
  const leg = core.legs.get(receiverTag);
  const found = leg?.side === from && leg.dialog.callId === callId && leg.dialog.remoteTag === senderTag;
  const isOurs = found && leg.session.facts.user === first.facts.user;
  // RFC 3891 §5: nothing is told of others
  if (!isOurs || (from === "server" && leg.session !== first)) return err(NO_SESSION);
  if (leg.session !== first) return err(NO_JOINING);
  return earlyOnly ? err({ status: 486, reason: "That Session Was Answered" }) : ok(true); // RFC 3891 §3
}

/**
 * Whether the first session goes on. `;first=keep` or `;first=end` behind Refer-To decides, or a Replaces that names
 * this session; else the service's setting.
 */
function keepsFirst(first: Session, { address }: ReferTo, replaced: boolean): boolean {
  const wish = address.params.get("first");
  if (wish === "keep" || wish === "end") return wish === "keep";
  return !replaced && first.service.onMove === "keep";
}

/** Logs which header fields of the Refer-To are not taken over. */
function sayDropped(core: Core, first: Session, names: readonly string[]): void {
  if (names.length === 0) return;
  const facts = { ...ofSession(first), names: names.slice(0, 10) };
  core.peerLog.info("a Refer-To brings header fields that do not cross", first.facts.user, facts);
}

function inviteFor(core: Core, first: Session, from: Side, refer: SipRequest, to: ReferTo, uri: string): SipRequest {
  const { border } = core;
  const headers = new Headers();
  const given = new Set(to.headers.map(([name]) => name));
  for (const field of refer.headers.fields) {
    const { key } = field;
    // RFC 7989 §6: what the client knows of the first app server's id is not for the second.
    if (!border.lets(key, "server") || OF_REFER.has(key) || given.has(key) || key === "session-id") continue;
    // If the URI brings a body, the header fields of the REFER's own body are left out.
    if (to.body === undefined || !OF_BODY.has(key)) headers.fields.push(field);
  }
  const taken = (name: string) => OF_URI.has(name) || border.operatorLets(name);
  for (const [name, value] of to.headers) if (taken(name)) headers.add(name, value);
  const dropped = to.headers.filter(([name]) => !taken(name) && name !== "replaces");
  sayDropped(
    core,
    first,
    dropped.map(([name]) => name),
  );
  if (to.body !== undefined && !headers.has("content-type")) headers.add("Content-Type", "text/plain");
  // RFC 3892 §2.2: Referred-By says who refers. The relay writes the user who signed in, whatever the client calls
  // itself.
  if (from === "client" && refer.headers.has("referred-by"))
    headers.add("Referred-By", `<${border.uriOf(first.user)}>`);
  const { dialog } = first.client!;
  headers
    .add("From", dialog.remote)
    .add("To", `<${uri}>`)
    .add("Max-Forwards", refer.headers.get("max-forwards") ?? "70");
  const body = to.body === undefined ? refer.body : Buffer.from(to.body, "latin1");
  return new SipRequest("INVITE", uri, headers, body);
}
