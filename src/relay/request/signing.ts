import type { SipRequest } from "../../sip/message.ts";
import { hasPassword } from "../dialog/passing.ts";
import type { Core, SessionPort as Session } from "../model/core.ts";

/** How many Identity headers of a trusted proxy pass. */
const MAX_IDENTITIES = 4;

/**
 * Signs an INVITE to an app server, where the operator has switched that on: the portal's own word (M10, RFC 8224), and
 * the operator's with `shaken` (RFC 8588). A client's Identity headers do not pass. Those that one of the operator's
 * proxies brings do: it has checked them, or has taken out what a client made up.
 */
export function sign(core: Core, session: Session, original: SipRequest, request: SipRequest): void {
  const { headers } = original;
  const flow = session.request?.transaction.flow;
  if (headers.has("identity") && flow && core.sources.isProxy(flow))
    for (const value of headers.all("identity").slice(0, MAX_IDENTITIES)) request.headers.add("Identity", value);
  if (!core.proof && !core.attest) return;
  const uri = core.border.uriOf(session.user);
  core.proof?.(request, uri);
  core.attest?.(request, {
    uri,
    numbers: core.directory.user(session.user)?.numbers ?? [],
    preferred: preferredIn(original),
    exposed: flow?.secure !== true && !headers.has("authorization") && hasPassword(headers.get("from") ?? ""),
    appServer: session.appServer.id,
  });
}

/** The URI by which the caller asks to be known (RFC 3325 §9.2): angle brackets or not. */
function preferredIn({ headers }: SipRequest): string | undefined {
  const value = headers.get("p-preferred-identity");
  return value === undefined ? undefined : (/<([^<>]*)>/.exec(value)?.[1] ?? value.trim());
}
