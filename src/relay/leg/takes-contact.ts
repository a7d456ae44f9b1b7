import { shown, shownUris } from "../../support/peer-log.ts";
import { sourceKey } from "../../support/source.ts";
import type { ServerTransaction } from "../../transaction/types.ts";
import { contactProblem } from "../dialog/contact.ts";
import { reply } from "../dialog/reply.ts";
import type { Core, LegPort } from "../model/core.ts";
import { ofSession } from "../model/log-facts.ts";
import { recordOf } from "../model/records.ts";

/**
 * Whether the Contact of a request that opens a dialog, or of one within a `leg`, can be accepted. If not, the request
 * is answered with 400, or with 403 where its sender is an app server, or its Contact names one.
 */
export function takesContact(
  core: Core,
  transaction: ServerTransaction,
  leg?: Pick<LegPort, "side" | "routed"> & Partial<Pick<LegPort, "session">>,
): boolean {
  const { request, flow } = transaction;
  const routed = leg ? leg.routed : request.headers.has("record-route");
  const noClient = leg?.side === "server" ? undefined : core.reach.whyNoClient(request, flow);
  const why = noClient ?? contactProblem(request, flow, leg === undefined, routed);
  if (why === undefined) return true;
  recordOf(transaction)?.because(why);
  reply(transaction, noClient === undefined ? 400 : 403, [], why);
  core.counters.rejected++;
  const { method, callId } = request;
  const facts = {
    method,
    callId: shown(callId),
    ...(leg?.session && ofSession(leg.session)),
    from: flow.id,
    why,
    contact: shownUris(request.headers.get("contact") ?? ""),
  };
  core.peerLog.info("a request is refused: its sender could not be reached", sourceKey(flow.remoteAddress), facts);
  return false;
}
