import type { Failure } from "../../../machines/events.ts";
import { sessionMoved } from "../../charging/events/events.ts";
import type { SipRequest } from "../../sip/message.ts";
import { type DialogName, parseReplaces, parseTargetDialog } from "../../sip/refer.ts";
import { err, ok, type Result } from "../../support/result.ts";
import type { Core, LegPort as Leg, Move, SessionPort as Session } from "../model/core.ts";
import { ofSession } from "../model/log-facts.ts";

const NO_MOVE = ok(undefined);
const GONE = { status: 481, reason: "No Such Dialog" };

/** The client's leg that a header field names. The caller checks whether it belongs to the same account. */
export function findClientLeg(core: Core, { callId, receiverTag, senderTag }: DialogName): Leg | undefined {
  const leg = core.legs.get(receiverTag);
  if (leg?.side !== "client" || leg.closed || leg.dialog.callId !== callId || leg.dialog.remoteTag !== senderTag)
    return undefined;
  return leg;
}

/**
 * Whether the client's INVITE moves on from a session of the same account: by Replaces (RFC 3891), which ends that
 * session, or by Target-Dialog (RFC 4538), beside which it goes on. The error is the answer to the INVITE.
 */
export function moveOf(core: Core, request: SipRequest, account: string): Result<Move | undefined, Failure> {
  const replaces = request.headers.get("replaces");
  if (replaces !== undefined) return replacing(core, replaces, request.headers.has("join"), account);
  const target = request.headers.get("target-dialog");
  if (target === undefined) return NO_MOVE;
  const read = parseTargetDialog(target);
  if (!read.ok) return err({ status: 400, reason: read.error });
  const leg = findClientLeg(core, read.value);
  // RFC 4538 §4: Target-Dialog only relates the two. If the dialog is unknown, over, or another user's, it is ignored.
  if (!leg || leg.session.facts.user !== account || !isUp(leg.session)) return NO_MOVE;
  return ok({ first: leg.session, keep: true });
}

function replacing(core: Core, text: string, joins: boolean, account: string): Result<Move, Failure> {
  const read = parseReplaces(text);
  if (!read.ok) return err({ status: 400, reason: read.error });
  if (joins) return err({ status: 400, reason: "Replaces And Join" }); // RFC 3891 §3
  const leg = findClientLeg(core, read.value);
  // RFC 3891 §3: no dialog, or an early one that its receiver did not begin: 481.
  if (!leg?.confirmed) return err(GONE);
  if (leg.session.facts.user !== account) return err({ status: 403, reason: "Not Your Session" }); // RFC 3891 §5
  if (!isUp(leg.session)) return err({ status: 603, reason: "That Session Is Over" }); // RFC 3891 §3
  if (read.value.earlyOnly) return err({ status: 486, reason: "That Session Was Answered" }); // RFC 3891 §3
  return ok({ first: leg.session, keep: false });
}

/** Whether the session was answered and nobody has hung up. */
export function isUp(session: Session): boolean {
  const { value } = session.actor.getSnapshot();
  return value === "answered" || (typeof value === "object" && "established" in value);
}

/**
 * The second session is established: puts the move on record, and ends the first session unless it is to go on (M23,
 * M24).
 */
export function moved(core: Core, second: Session, { first, keep }: Move): void {
  second.isBeside(first);
  const event = sessionMoved(second.facts, first.facts, second.now(), keep);
  // No bill depends on it (src/charging/events/events.ts): both sessions have their own times and charges.
  core.recorder.append(event).catch((error) =>
    core.peerLog.error("a move could not be put on record", second.facts.user, {
      ...ofSession(second),
      err: error,
      event,
    }),
  );
  if (!keep && isUp(first)) first.end({ code: "moved", what: second.facts.service });
}
