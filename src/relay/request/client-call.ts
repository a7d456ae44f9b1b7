import type { Binding } from "../../registrar/binding.ts";
import { quote } from "../../sip/headers.ts";
import type { SipRequest, SipResponse } from "../../sip/message.ts";
import { encodeUtf8 } from "../../sip/text.ts";
import type { Timer, TimerOwner } from "../../support/timer-queues.ts";
import type { ClientTransaction, ClientTransactionUser } from "../../transaction/types.ts";
import type { Dialog } from "../dialog/dialog.ts";
import { ALLOW, offeredPackages } from "../dialog/passing.ts";
import { contactUri, isSips } from "../dialog/sips.ts";
import { Leg } from "../leg/leg.ts";
import { askForTimer, takeMinimum, takeTimer } from "../leg/session-timer.ts";
import { acknowledgeUnwanted } from "../leg/unwanted.ts";
import { withdrawalsOf } from "../leg/withdrawals.ts";
import { hearing } from "../media/gate.ts";
import type { Core, SessionPort as Session } from "../model/core.ts";
import type { Asking, Withdrawn } from "../model/ports.ts";
import { callIdOf } from "../model/session-names.ts";
import { isOneTooMany, ringS } from "../session/ringing.ts";
import { maxForwards } from "./invitation.ts";

/**
 * The INVITEs with which the relay passes an app server's call on to a client, one to each device that the client has
 * registered (RFC 3261 §16.7). A device's further flows are tried where one fails (RFC 5626 §6). It has the part that
 * an `Invitation` has in other sessions: the end that is invited is the client.
 */
export class ClientCall implements Asking, TimerOwner<"ringing"> {
  refusal: SipResponse | undefined;
  readonly hasEarlyDialog = false;
  private readonly core: Core;
  private readonly session: Session;
  private original: SipRequest | undefined;
  private timer: Timer | undefined;
  private open: Ring[] = [];
  private readonly all: Ring[] = [];
  /** The device that has answered. */
  private winner: Ring | undefined;
  /** The device whose provisional answers are passed on. */
  private ringing: Ring | undefined;
  private provisionals = 0;
  private cancelled = false;
  private best = 0;
  private acknowledged: SipRequest | undefined;

  constructor(core: Core, session: Session) {
    this.core = core;
    this.session = session;
  }

  /** Calls the devices, with what `original` says. */
  start(original: SipRequest, targets: readonly Binding[]): void {
    this.original = original;
    if (this.cancelled) {
      this.session.actor.send({ type: "server.failure", failure: { status: 487 } });
      return;
    }
    this.timer = this.core.timers.start(this, "ringing", ringS(this.session) * 1000);
    const devices = byDevice(targets);
    this.session.branch?.sent(callIdOf(this.session.id));
    for (const flows of devices) {
      const ring = new Ring(this.core, this.session, this, flows);
      this.all.push(ring);
      this.open.push(ring);
    }
    for (const ring of this.all) if (this.winner === undefined && !this.cancelled) ring.begin();
  }

  get seq(): number {
    return this.winner?.seq ?? 1;
  }

  fill(request: SipRequest): void {
    const { core, original } = this;
    if (!original) return;
    core.border.pass(original, request, "client");
    const { headers } = request;
    headers.set("Max-Forwards", String(Math.max(0, (maxForwards(original) ?? 70) - 1)));
    headers.set("Allow", ALLOW);
    const packages = offeredPackages(original.headers);
    if (packages.length > 0) headers.add("Recv-Info", packages.join(", "));
  }

  /** What the devices were asked. */
  get asked(): SipRequest | undefined {
    return this.original;
  }

  cancel(reason?: string): void {
    this.cancelled = true;
    for (const ring of [...this.open]) ring.cancel(reason);
  }

  withdrawals(): Withdrawn[] {
    return this.all.flatMap((ring) => ring.withdrawals());
  }

  ack(from: SipRequest | undefined): void {
    this.acknowledged = from;
    this.winner?.leg?.sendAck(this.seq, from && ((ack) => this.core.border.pass(from, ack, "client")));
  }

  openEarlyDialog(): void {}

  close(): void {
    this.core.timers.stop(this.timer);
    for (const ring of this.all) ring.close(ring === this.winner);
  }

  timerFired(): void {
    if (this.winner || this.cancelled) return;
    this.session.branch?.because(`it rang for ${ringS(this.session)} s and nobody answered`);
    this.session.actor.send({ type: "server.silent", failure: { status: 408 } });
  }

  /** A device has the INVITE. */
  trying(): void {
    if (this.session.request?.transaction.told) this.core.kept?.rings?.(this.session);
  }

  provisional(ring: Ring, response: SipResponse): void {
    this.core.kept?.rings?.(this.session);
    if (this.winner || this.cancelled || response.headers.has("rseq")) return;
    this.ringing ??= ring;
    if (this.ringing !== ring || isOneTooMany(this.session, "client", ++this.provisionals)) return;
    this.session.actor.send({ type: "server.progress", payload: response });
  }

  /** A device has answered; false: another one has before. */
  answered(ring: Ring, response: SipResponse): boolean {
    if (this.winner) return false;
    this.winner = ring;
    this.core.timers.stop(this.timer);
    this.open = this.open.filter((other) => other !== ring);
    for (const other of [...this.open]) other.cancel(ELSEWHERE);
    this.session.take(ring.leg!);
    this.session.answered(response);
    return true;
  }

  /** A 2xx that came again: its ACK was lost. */
  answeredAgain(): void {
    const { acknowledged, winner } = this;
    const { value } = this.session.actor.getSnapshot();
    if (value === "answered") return; // the app server's ACK is still awaited
    winner?.leg?.sendAck(this.seq, acknowledged && ((ack) => this.core.border.pass(acknowledged, ack, "client")));
  }

  /** A device has refused, or cannot be reached. `said`: its answer. */
  refused(ring: Ring, status: number, said: SipResponse | undefined): void {
    this.open = this.open.filter((other) => other !== ring);
    if (this.winner) return;
    if (this.best === 0 || rank(status) < rank(this.best)) {
      this.best = status;
      this.refusal = said;
    }
    // RFC 3261 §16.7, step 5: a 6xx speaks for the user.
    if (status >= 600) for (const other of [...this.open]) other.cancel();
    if (this.open.length > 0) return;
    this.core.timers.stop(this.timer);
    const { appServer } = this.session;
    // A 503 would be taken for the relay's own, and a redirection leads where the relay does not go.
    const failure = this.best === 503 || this.best < 400 ? 480 : this.best;
    if (failure !== this.best) this.refusal = undefined;
    this.session.actor.send({
      type: "server.failure",
      failure: { status: failure, ...(this.refusal && { branch: appServer.id }) },
    });
  }
}

const ELSEWHERE = 'SIP;cause=200;text="Call completed elsewhere"';

/** RFC 3261 §16.7, step 6: 6xx, then what somebody has said, then the silence of a device. */
const rank = (status: number): number =>
  status >= 600 ? 0 : status === 408 || status === 480 || status === 503 ? 2 : 1;

/** The bindings of each device, the newest flow first. A binding without a device is one of its own. */
function byDevice(targets: readonly Binding[]): Binding[][] {
  const devices = new Map<string, Binding[]>();
  for (const binding of [...targets].sort((a, b) => b.q - a.q || b.since - a.since)) {
    const device = binding.instance ?? binding.key;
    devices.set(device, [...(devices.get(device) ?? []), binding]);
  }
  return [...devices.values()];
}

/** One device that is called. */
class Ring implements ClientTransactionUser {
  leg: Leg | undefined;
  seq = 1;
  private readonly core: Core;
  private readonly session: Session;
  private readonly call: ClientCall;
  private flows: readonly Binding[];
  private transaction: ClientTransaction | undefined;
  private cancelReason: string | undefined;
  private cancelled = false;
  private tries = 1;

  constructor(core: Core, session: Session, call: ClientCall, flows: readonly Binding[]) {
    this.core = core;
    this.session = session;
    this.call = call;
    this.flows = flows;
  }

  /** Calls the device by its next flow. */
  begin(): void {
    const [binding, ...others] = this.flows;
    if (!binding) return;
    this.flows = others;
    this.leg?.close();
    this.leg = new Leg(this.core, this.session, "client", dialogTo(this.core, this.session, binding));
    this.ask(this.leg);
  }

  private ask(leg: Leg): void {
    const request = leg.request("INVITE");
    this.seq = leg.dialog.localSeq;
    this.call.fill(request);
    askForTimer(leg, request);
    leg.send(request, hearing(this.session, "client", request, this), (transaction) => {
      this.transaction = transaction;
      if (this.cancelled) this.cancel(this.cancelReason);
    });
  }

  cancel(reason?: string): void {
    this.cancelled = true;
    this.cancelReason = reason;
    this.transaction?.cancel(reason === undefined ? undefined : [["Reason", reason]]);
  }

  withdrawals(): Withdrawn[] {
    return this.leg ? withdrawalsOf(this.transaction, this.leg) : [];
  }

  close(isAnswered: boolean): void {
    this.transaction?.abandon(isAnswered ? this.leg?.dialog.remoteTag : undefined);
    if (!isAnswered) this.leg?.close();
  }

  provisional(response: SipResponse): void {
    if (response.status > 100) this.call.provisional(this, response);
    else this.call.trying();
  }

  final(response: SipResponse): void {
    const { leg } = this;
    if (response.status >= 300) {
      // RFC 5626 §5.3.1: the flow is gone; the device may have another.
      if (response.status === 430 && this.goesOn()) return;
      if (response.status === 422 && leg && !this.cancelled && takeMinimum(leg, response, this.tries)) {
        this.tries++;
        this.transaction?.abandon();
        this.ask(leg); // RFC 4028 §7.3: the same dialog's next INVITE
        return;
      }
      this.leg?.close();
      this.call.refused(this, response.status, response);
      return;
    }
    if (leg?.confirmed) {
      if (response.toTag === leg.dialog.remoteTag) this.call.answeredAgain();
      else acknowledgeUnwanted(this.core, response, this.transaction!.flow, true);
      return;
    }
    leg?.confirm(response);
    if (leg) takeTimer(leg, response, this.call.asked);
    if (leg && this.call.answered(this, response)) return;
    acknowledgeUnwanted(this.core, response, this.transaction!.flow, true);
    leg?.close();
  }

  timeout(): void {
    if (!this.goesOn()) this.unreached(408);
  }

  transportError(): void {
    if (!this.goesOn()) this.unreached(480);
  }

  private goesOn(): boolean {
    if (this.cancelled || this.flows.length === 0) return false;
    this.begin();
    return true;
  }

  private unreached(status: number): void {
    this.leg?.close();
    this.call.refused(this, status, undefined);
  }
}

/** The dialog that the INVITE to a device opens. From names the service, in whose name the app server calls. */
function dialogTo(core: Core, session: Session, binding: Binding): Dialog {
  const localTag = core.random.token(64);
  const { contact, aor, path, cameFrom, behind, flow, home } = binding;
  const { service } = session;
  const title = service.title === undefined ? "" : `${quote(encodeUtf8(service.title))} `;
  const isRouted = path.length > 0;
  // What came by UDP to this node leaves by the same socket without a flow; to another node, by that node.
  const usable = flow?.open && (flow.reliable || home !== undefined) ? flow : undefined;
  const direct = isRouted ? undefined : usable;
  const place = usable ? core.transport.contactFor(usable) : core.transport.contactTowards(behind ?? cameFrom);
  return {
    callId: callIdOf(session.id),
    localTag,
    remoteTag: "",
    local: `${title}<${core.border.uriOf(service.id)}>;tag=${localTag}`,
    remote: `<${aor}>`,
    remoteTarget: contact,
    routes: path,
    localSeq: 0,
    remoteSeq: -1,
    contact: contactUri(place, isSips(contact)),
    behind,
    flow: direct,
    destination: undefined,
    peerName: undefined,
    cameFrom,
    cameBy: isRouted ? usable : undefined,
  };
}
