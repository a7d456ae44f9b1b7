import { withTag } from "../../sip/headers.ts";
import { type SipRequest, SipResponse } from "../../sip/message.ts";
import { formatReplaces, formatTargetDialog } from "../../sip/refer.ts";
import { reasonPhrase } from "../../sip/response.ts";
import type { TimerHandle } from "../../support/clock.ts";
import type { ClientTransaction, ClientTransactionUser } from "../../transaction/types.ts";
import type { Dialog } from "../dialog/dialog.ts";
import { ALLOW, offeredPackages } from "../dialog/passing.ts";
import { askForTimer, takeMinimum, takeTimer } from "../leg/session-timer.ts";
import { acknowledgeUnwanted } from "../leg/unwanted.ts";
import { withdrawalsOf } from "../leg/withdrawals.ts";
import { hearing } from "../media/gate.ts";
import type { Core, LegPort, SessionPort as Session } from "../model/core.ts";
import type { Withdrawn } from "../model/ports.ts";
import { isUp } from "../session/move.ts";

/** How an INVITE to a client ends. Exactly one of the two is called. */
export interface Invited {
  accepted(response: SipResponse): void;
  /** `said`: the client's own answer, or one that the relay makes where none came. */
  refused(said: SipResponse): void;
}

/** What a client is invited to. */
export interface Content {
  /** The second app server's answer. */
  readonly answer: SipResponse;
  /** The session that the client moves on from; `keep`: that one goes on. */
  readonly first: Session;
  readonly keep: boolean;
}

/**
 * The INVITE with which the relay asks a client to take the session that a REFER has led to (M23). As in RFC 3725 §4,
 * the relay stands between two INVITEs of its own: it offers the client what the app server has answered.
 */
export class ClientInvitation implements ClientTransactionUser {
  private readonly core: Core;
  private readonly leg: LegPort;
  private readonly content: Content;
  private seq = 0;
  private readonly invited: Invited;
  private timer: TimerHandle;
  private transaction: ClientTransaction | undefined;
  private decided = false;
  private cancelled = false;
  private tries = 1;

  constructor(core: Core, leg: LegPort, content: Content, invited: Invited) {
    this.core = core;
    this.leg = leg;
    this.invited = invited;
    this.content = content;
  }

  start(): void {
    const { core } = this;
    // The app server repeats its 200 for 64*T1 and then gives up: the client has to answer before that (RFC 3261
    // §13.3.1.4).
    this.timer = core.clock.setTimeout(() => this.giveUp(), 56 * core.config.timers.t1Ms);
    this.ask();
  }

  private ask(): void {
    const { core, leg, content } = this;
    const request = leg.request("INVITE");
    this.seq = leg.dialog.localSeq;
    fill(core, request, content);
    askForTimer(leg, request);
    leg.send(request, hearing(leg.session, "client", request, this), (transaction) => {
      this.transaction = transaction;
      if (this.cancelled) transaction.cancel();
    });
  }

  /** Nobody wants the answer any more. A 2xx that is on its way will be acknowledged, and its session ended. */
  cancel(): void {
    this.cancelled = true;
    this.core.clock.clearTimeout(this.timer);
    this.transaction?.cancel();
  }

  withdrawals(): Withdrawn[] {
    return withdrawalsOf(this.transaction, this.leg);
  }

  provisional(): void {
    if (!this.decided) this.core.kept?.rings?.(this.leg.session);
  }

  final(response: SipResponse): void {
    const isOpen = !this.decided && !this.cancelled;
    if (response.status === 422 && isOpen && takeMinimum(this.leg, response, this.tries)) {
      this.tries++;
      this.ask(); // RFC 4028 §7.3
      return;
    }
    if (response.status >= 300) {
      this.decide(() => this.invited.refused(response));
      return;
    }
    const { leg, content } = this;
    if (leg.confirmed && response.toTag === leg.dialog.remoteTag) {
      leg.sendAck(this.seq); // A repeated 2xx: its ACK was lost (RFC 3261 §13.2.2.4).
      return;
    }
    if (this.decided || this.cancelled) {
      // The 2xx comes too late, or from another device of the client.
      acknowledgeUnwanted(this.core, response, this.transaction!.flow, true);
      return;
    }
    // RFC 3261 §12.1.2: the dialog keeps the URI that To had in the INVITE. The sender of the answer could write any
    // other, and later From lines are made of it (`inviteFor`).
    const asked = leg.dialog.remote;
    leg.confirm(response);
    leg.dialog.remote = withTag(asked, response.toTag);
    takeTimer(leg, response, content.answer);
    leg.sendAck(this.seq);
    this.decide(() => this.invited.accepted(response));
  }

  timeout(): void {
    this.refused(408);
  }

  transportError(): void {
    this.refused(503);
  }

  private giveUp(): void {
    this.cancel();
    this.refused(408);
  }

  private refused(status: number): void {
    this.decide(() => this.invited.refused(new SipResponse(status, reasonPhrase(status))));
  }

  private decide(tell: () => void): void {
    if (this.decided) return;
    this.decided = true;
    this.core.clock.clearTimeout(this.timer);
    tell();
  }
}

function fill(core: Core, request: SipRequest, { answer, first, keep }: Content): void {
  core.border.pass(answer, request, "client");
  const { headers } = request;
  headers.remove("warning");
  headers.set("Allow", ALLOW);
  const packages = offeredPackages(answer.headers);
  if (packages.length > 0) headers.add("Recv-Info", packages.join(", "));
  headers.add("Answer-Mode", "Auto"); // RFC 5373: the user has asked for the move, so the device need not ring.
  const { callId, localTag, remoteTag } = first.client!.dialog;
  const name = { callId, senderTag: localTag, receiverTag: remoteTag };
  headers.add("Target-Dialog", formatTargetDialog(name)); // RFC 4538: which session this one comes from.
  // RFC 3891: a client that supports Replaces takes this session in place of the first without asking.
  if (!keep && isUp(first)) headers.add("Replaces", formatReplaces(name));
}

/**
 * The dialog in which the relay invites a client with which it has another dialog already: same peer, same way. `from`
 * is the URI of From, `to` the whole of To.
 */
export function dialogBeside(core: Core, first: Dialog, from: string, to: string): Dialog {
  const localTag = core.random.token(64);
  return {
    callId: `${core.random.token(96)}@tollgate`,
    localTag,
    remoteTag: "",
    local: `<${from}>;tag=${localTag}`,
    remote: to,
    remoteTarget: first.remoteTarget,
    // RFC 3261 §8.1.1.1: a pre-existing route set; the proxies that led to the client before lead to it again.
    routes: first.routes,
    localSeq: 0,
    remoteSeq: -1,
    contact: first.contact,
    ...(first.behind && { behind: first.behind }),
    ...(first.flow && { flow: first.flow }),
    ...(first.destination && { destination: first.destination }),
    cameFrom: first.cameFrom,
    cameBy: first.cameBy,
    doubt: first.doubt,
  };
}
