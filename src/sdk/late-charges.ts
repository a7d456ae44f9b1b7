import { type Body, Grammar, type IncomingRequestMessage, URI, type UserAgentCore } from "sip.js/lib/core/index.js";
import { SESSION_HEADER } from "../charging/charges/header-names.ts";
import { finalAnswer, refusalOf } from "./answers.ts";
import { token } from "./token.ts";

/** How charges are sent when the dialog is over. */
export interface ChargesTarget {
  readonly core: UserAgentCore;
  /** Sends what has the first Call-ID over the connection of the second one, as long as that connection is open. */
  readonly follow: (callId: string, other: string) => void;
}

/**
 * Reports charges after the session's end, in a MESSAGE outside of any dialog (RFC 3428). `invite` is the relay's
 * INVITE: it says where the relay is, and its domain. `session` is the relay's name for the session. Rejects with the
 * relay's refusal as a `SipError`.
 */
export function reportLate(
  { core, follow }: ChargesTarget,
  invite: IncomingRequestMessage,
  session: string | undefined,
  body: Body,
): Promise<void> {
  const asserted = invite.getHeader("p-asserted-identity");
  const portal = (asserted && Grammar.nameAddrHeaderParse(asserted)?.uri.host) || invite.to.uri.host;
  const target = new URI("sip", "charges", portal);
  const contact = invite.parseHeader("contact") as { uri?: URI } | undefined;
  const callId = `late-${token()}`;
  const route = contact?.uri ? [`<${loose(contact.uri)}>`] : [];
  const message = core.makeOutgoingRequestMessage(
    "MESSAGE",
    target,
    core.configuration.aor,
    target,
    { callId, routeSet: route },
    session === undefined ? [`In-Reply-To: ${invite.callId}`] : [`${SESSION_HEADER}: ${session}`],
    body,
  );
  follow(callId, invite.callId);
  return new Promise((resolve, reject) => {
    core.request(
      message,
      finalAnswer(({ message: answer }) => {
        const status = answer.statusCode ?? 500;
        if (status < 300) resolve();
        else reject(refusalOf(answer));
      }),
    );
  });
}

/** The relay's address as a route that leaves the Request-URI unchanged (RFC 3261 §19.1.1, lr). */
function loose(contact: URI): string {
  const host = contact.port === undefined ? contact.host : `${contact.host}:${contact.port}`;
  return `sip:${host};transport=${contact.getParam("transport") ?? "tcp"};lr`;
}
