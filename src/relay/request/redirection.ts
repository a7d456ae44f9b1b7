import { parseRequestDisposition } from "../../sip/disposition.ts";
import type { SipResponse } from "../../sip/message.ts";
import type { ServerTransaction } from "../../transaction/types.ts";
import { MAX_REDIRECTS, type Redirected, type Way, wayOn } from "../leg/redirect.ts";
import type { ChangePort, Core } from "../model/core.ts";
import { ofRequest } from "../model/log-facts.ts";

/** A request that was redirected, as seen by the request that replaces it. */
interface AskedBefore extends Redirected {
  /** Correlation id of all sessions of the client's request. */
  readonly call: string;
  readonly transaction: ServerTransaction;
  /** The app servers that were asked. */
  readonly tried: readonly string[];
  /** Undefined: this is the client's own request. */
  readonly redirection: Redirection | undefined;
  readonly change: ChangePort | undefined;
  /** Resolves when the unused part of its holds is back in the balance; undefined: nothing was held. */
  readonly givenBack: Promise<void> | undefined;
}

/** A redirection by app servers: another request takes the place of the redirected one (RFC 3261 §21.3). */
export class Redirection {
  /** The request that was redirected. */
  readonly from: AskedBefore;
  /** Where it was redirected to. */
  readonly way: Way;

  constructor(from: AskedBefore, way: Way) {
    this.from = from;
    this.way = way;
  }

  /** How many redirections have led here. */
  get hops(): number {
    return 1 + (this.from.redirection?.hops ?? 0);
  }

  /** Whether it leads to another service than the client asked for. */
  get isToAnother(): boolean {
    return this.way.request !== undefined || (this.from.redirection?.isToAnother ?? false);
  }
}

/** Where these answers lead from `request`; undefined: nowhere that the portal offers and the client wants. */
export function wayAfter(core: Core, request: AskedBefore, redirections: readonly SipResponse[]): Way | undefined {
  const { change, service, tried, redirection } = request;
  const isFar = redirection !== undefined && redirection.hops >= MAX_REDIRECTS;
  const way = isFar || !mayFollow(core, request) ? undefined : wayOn(core, request, redirections);
  // Within a change, the service must stay the same. And where the present app server is asked, no other may be.
  if (way && !(change && (way.request || change.keepsServer))) return way;
  const facts = { ...ofRequest(request), service, appServers: tried };
  core.peerLog.info("an app server's redirection leads nowhere that the portal offers", service, facts);
  return undefined;
}

/** Whether redirections may be followed. A client may forbid this by `no-recurse` (RFC 3841 §9.1). */
function mayFollow({ config }: Core, { request }: AskedBefore): boolean {
  if (config.session.redirects === "off") return false;
  const wish = parseRequestDisposition(request.headers.all("request-disposition"));
  return !(wish.ok && wish.value.recurse === false);
}
