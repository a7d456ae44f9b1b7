import type { Failure } from "../../../machines/events.ts";
import type { requestMachine } from "../../../machines/request.ts";
import { FAULT, type OpenRecord, STOPS } from "../../calls/open-record.ts";
import type { SessionFacts } from "../../charging/events/events.ts";
import { ChartActor, type Owner } from "../../chart/actor.ts";
import type { Verdict } from "../../directory/authenticator.ts";
import type { Identified } from "../../directory/types.ts";
import { type SipRequest, SipResponse } from "../../sip/message.ts";
import { reasonPhrase } from "../../sip/response.ts";
import { detach } from "../../sip/text.ts";
import type { TimerHandle } from "../../support/clock.ts";
import type { Timeline } from "../../support/timeline.ts";
import type { ServerTransaction } from "../../transaction/types.ts";
import type { Credits } from "../charges/credits.ts";
import { hasOption, withoutPassword } from "../dialog/passing.ts";
import { markRefusal } from "../dialog/session-id.ts";
import { among, TransactionFor } from "../leg/redirect.ts";
import { Refusals, refusal, withinDialog } from "../leg/refusals.ts";
import type { ChangePort, Core, LegPort as Leg, Move, RequestPort, SessionPort } from "../model/core.ts";
import { ofRequest } from "../model/log-facts.ts";
import type { CallToClient, Origin } from "../model/ports.ts";
import { recordOf } from "../model/records.ts";
import { Session } from "../session/session.ts";
import { Redirection, wayAfter } from "./redirection.ts";

/** What a request comes of that is not simply the client's first INVITE. */
export interface RequestOf {
  readonly change?: ChangePort | undefined;
  readonly move?: Move | undefined;
  readonly redirection?: Redirection | undefined;
  readonly calls?: CallToClient | undefined;
}

/**
 * The SIP side of one client request: the INVITE's transaction with the client, and the sessions that are made of it.
 * What happens when is the chart's to say (machines/request.ts); ../actions/request.ts is what the chart's actions do
 * with it.
 */
export class ClientRequest implements Origin, Owner, RequestPort {
  readonly id: string;
  readonly transaction: ServerTransaction;
  readonly actor: ChartActor<typeof requestMachine>;
  closed = false;
  readonly core: Core;
  /** What became of the request; requests that go on from it share its record. */
  readonly record: OpenRecord | undefined;
  /** Who the client is, as the router found out. */
  readonly verdict: Exclude<Verdict, { verdict: "challenge" }>;
  /** The registered user, once authenticated. */
  user = "";
  /** The name of the account that the request is charged to. */
  account = "";
  identified: Identified | undefined;
  /** The session from which the client moves to the one that it asks for (M23, M24). */
  move: Move | undefined;
  /** The sessions of this request that are not decided yet, one for each app server that was asked. */
  private branches: readonly SessionPort[] = [];
  /** The answers of the app servers that refused; undefined: none has. */
  private refusals: Refusals | undefined;
  /** The app servers that were asked so far. */
  tried: readonly string[] = NOBODY;
  /** Where this request goes on in the place of one that app servers redirected; undefined: it does not. */
  readonly redirection: Redirection | undefined;
  /** The request that goes on in the place of this one, which was redirected. */
  private next: ClientRequest | undefined;
  /** The change of service that the client asks for in a session that stands (M20, M21). */
  readonly change: ChangePort | undefined;
  /** The call of an app server to a client that it is. */
  readonly calls: CallToClient | undefined;
  /** What is held in a prepaid user's balance for the sessions to come. */
  credits: Credits | undefined;
  /** Resolves when the part of `credits` that no session used is back in the balance. */
  givenBack: Promise<void> | undefined;
  /** Why branches are cancelled, for Reason in their CANCEL (RFC 3326). */
  private cancelReason: string | undefined;
  /** An app server's 2xx is on its way to the client. */
  private told = false;
  /** The client wants only one app server to be asked (RFC 3841 §9.1). */
  single = false;
  /** The request counts among those that its user has under way. */
  private counted = false;
  private furtherTimer: TimerHandle;

  /** `from`: undefined for the client's first INVITE. */
  constructor(core: Core, transaction: ServerTransaction, verdict: ClientRequest["verdict"], from?: RequestOf) {
    this.core = core;
    this.change = from?.change;
    this.move = from?.move;
    this.redirection = from?.redirection;
    this.calls = from?.calls;
    this.identified = from?.change?.identified ?? from?.calls?.identified;
    this.verdict = verdict;
    this.transaction = transaction;
    this.id = core.random.token(96);
    this.record = recordOf(transaction);
    this.record?.hold();
    this.record?.isNamed(this.id, this.call);
    if (this.identified) this.record?.asksFor(this.identified.service.id, this.identified.rule);
    this.actor = new ChartActor(core.requestLogic, {
      id: this.id,
      input: { id: this.id },
      owner: this,
      inspectors: core.inspectors,
    });
  }

  get call(): string {
    return this.change?.first.facts.call ?? this.redirection?.from.call ?? this.id;
  }

  get asked(): string {
    if (this.calls) return this.core.border.uriOf(this.calls.identified.service.id); // as if the client had asked for it
    return this.change?.first.asked ?? detach(withoutPassword(this.transaction.request.uri));
  }

  get previous(): SessionFacts["previous"] {
    if (this.change) return { session: this.change.first.id, by: "change" };
    return this.move && { session: this.move.first.id, by: "move" };
  }

  get timeline(): Timeline | undefined {
    return (this.change ?? this.move)?.first.timeline;
  }

  start(): void {
    if (!this.redirection) this.core.counters.requests++;
    this.core.requests.set(this.id, this);
    this.transaction.onCancel = (cancel) => this.giveUp(cancel.headers.get("reason"));
    this.transaction.onFlowFailed = () => this.lost();
    this.transaction.onTrying = () => {
      for (const session of this.branches) this.core.kept?.rings?.(session);
    };
    this.actor.start();
  }

  /** The client has cancelled the request. `reason`: goes into the CANCELs to the app servers (RFC 3326). */
  giveUp(reason?: string): void {
    if (this.next) {
      this.next.giveUp(reason);
      return;
    }
    this.cancelReason = reason;
    this.actor.send({ type: "client.cancel" });
  }

  /** The client's connection failed before the answer: nobody waits for it any more. */
  lost(): void {
    this.record?.because(this.core.draining ? STOPS : "its connection is gone");
    this.actor.send({ type: "client.lost" });
  }

  /** The client has signed in. */
  signedIn(user: string, account: string): void {
    this.user = user;
    this.account = account;
    this.record?.signedIn(user);
  }

  /** It is counted among those that its user has under way, until it is closed. */
  counts(): void {
    this.counted = true;
  }

  /** The session from which the client moves is known. */
  moves(move: Move): void {
    this.move = move;
  }

  /** The rules have said what is asked for. `single`: of one app server only. */
  asksFor(identified: Identified, single: boolean): void {
    this.identified = identified;
    this.single = single;
    this.record?.asksFor(identified.service.id, identified.rule);
  }

  /** Each session that comes of the request takes what is held for it out of `credits`. */
  pays(credits: Credits): void {
    this.credits = credits;
  }

  /** Nobody is to be asked: tells the chart why. `why`: for the operator alone. */
  refuse(type: "user.refused" | "service.refused" | "servers.none", failure: Failure, why?: string): void {
    if (why !== undefined) this.record?.because(why);
    this.actor.send({ type, failure });
  }

  /** M5, M8: makes a session for each app server that is to be asked now. */
  inviteServers(asked: readonly string[]): void {
    this.tried = this.tried.length === 0 ? asked : [...this.tried, ...asked];
    for (const id of asked) {
      const server = this.core.directory.appServer(id);
      if (!server) {
        this.actor.send({ type: "branch.failed", branch: id, failure: { status: 404, branch: id } });
        continue;
      }
      const session = new Session(this.core, this, server, this);
      if (!session.isBillable) {
        this.record?.because(`a session with ${id} could not be billed`);
        this.credits?.giveBack(id);
        this.actor.send({ type: "branch.failed", branch: id, failure: { status: 500 } });
        continue;
      }
      if (this.change) {
        this.change.second = session;
        session.comesOf(this.change);
      }
      this.branches = [...this.branches, session];
      if (this.transaction.told) this.core.kept?.rings?.(session);
      session.start();
    }
  }

  /** This branch is decided: the app server has taken it or refused it, or the client has given it up. */
  decided(session: SessionPort): void {
    this.branches = this.branches.filter((branch) => branch !== session);
  }

  /**
   * An app server's 2xx is on its way to the client, perhaps still waiting until the start is on record. A CANCEL comes
   * too late from now on (RFC 3261 §9.2).
   */
  tells(): void {
    this.told = true;
  }

  /**
   * An app server has refused a branch. `said`: its answer, as it came; `failure`: what the branch made of it. Returns
   * what that means for the request.
   */
  refusedBy(branch: string, said: SipResponse, failure: Failure): Failure {
    this.refusals ??= new Refusals(this.core);
    return this.refusals.add(branch, said, failure);
  }

  cancelBranches(answered: boolean): void {
    if (answered) this.cancelReason = ELSEWHERE;
    for (const session of this.branches) session.giveUp(this.cancelReason);
  }

  withdrawBranches(): void {
    for (const session of this.branches) session.withdraw(DECLINED);
  }

  /**
   * M25: waits for further 2xx answers, for as long as the transaction of the client's INVITE can take them (RFC 3261
   * §13.2.2.4, RFC 6026 §7.1).
   */
  awaitFurther(): void {
    const { config, clock } = this.core;
    // Less than 64*T1: the last 2xx needs time to reach the client, and to be sent again, before both transactions end.
    const forMs = Math.min(config.session.furtherAnswersS * 1000, 60 * config.timers.t1Ms);
    this.furtherTimer = clock.setTimeout(() => this.actor.send({ type: "wait.over" }), forMs);
  }

  /** Answers the client: with an app server's own answer, as it came, or with one of the relay's. */
  reject(failure: Failure): void {
    const { refusals } = this;
    if (
      refusals &&
      !this.calls &&
      failure.status < 600 &&
      refusals.redirections.length > 0 &&
      this.follow(refusals.redirections)
    )
      return;
    this.core.counters.rejected++;
    if (failure.branch !== undefined) this.record?.passesOn();
    const heard = this.change ? withinDialog(failure) : failure;
    const response = refusals?.answer(heard) ?? refusal(heard);
    if (this.core.config.correlation.sessionId) markRefusal(this.request, response);
    this.transaction.respond(response);
    this.change?.refused();
  }

  /**
   * Goes on to where app servers have redirected the request, when nobody else is left to ask. False: they redirected
   * it to nothing that the portal offers.
   */
  private follow(redirections: readonly SipResponse[]): boolean {
    const { core, transaction, change, move, user } = this;
    const way = wayAfter(core, this, redirections);
    if (!way) return false;
    const onward = way.request ? new TransactionFor(transaction, way.request) : transaction;
    const redirection = new Redirection(this, way);
    this.next = new ClientRequest(core, onward, { verdict: "accepted", user }, { change, move, redirection });
    core.counters.redirected++;
    return true; // `close` of this request starts the next one
  }

  get request(): SipRequest {
    return this.transaction.request;
  }

  get service(): string {
    return this.identified!.service.id;
  }

  /** The app servers that the rules and the move allow; undefined: all that offer the service. */
  get allowed(): readonly string[] | undefined {
    return among(this.identified!.appServers, this.move?.only);
  }

  get isForAnother(): boolean {
    return this.redirection?.isToAnother ?? false;
  }

  wasAsked(service: string, appServer: string): boolean {
    if (service === this.service && this.tried.includes(appServer)) return true;
    return this.redirection?.from.wasAsked(service, appServer) ?? false;
  }

  /**
   * Tells a client that wants to know that a branch which rang has failed, while others may still answer (RFC 6228 §6).
   */
  earlyDialogEnded({ dialog }: Leg, status: number): void {
    const { request, answered } = this.transaction;
    const more = this.branches.length > 0 || this.actor.getSnapshot().context.waiting.length > 0;
    // A client that takes provisional answers only reliably gets no 199, since the relay makes it and does not wait for
    // a PRACK of its own (RFC 6228 §6).
    if (!more || answered || !hasOption(request.headers, "supported", "199")) return;
    if (hasOption(request.headers, "require", "100rel")) return;
    const response = new SipResponse(199, reasonPhrase(199));
    response.headers.add("To", dialog.local).add("Contact", dialog.contact).add("Reason", `SIP;cause=${status}`);
    this.transaction.respond(response);
  }

  confirmCancel(): void {
    if (this.transaction.answered || this.told) return;
    this.core.counters.cancelled++;
    const status = this.change?.cancelStatus ?? 487;
    this.transaction.respond(new SipResponse(status, reasonPhrase(status)));
    this.change?.refused();
  }

  close(): void {
    this.closed = true;
    this.core.clock.clearTimeout(this.furtherTimer);
    this.core.requests.delete(this.id);
    if (this.counted) {
      this.counted = false;
      this.core.loads.requestEnded(this.user);
    }
    this.givenBack = this.credits?.close();
    this.next?.start();
    this.record?.letGo();
  }

  /** A fault of ours ends this one request and nothing else (decision 13). */
  crashed(error: unknown): void {
    this.core.counters.crashed++;
    this.record?.because(FAULT);
    this.core.peerLog.error("request failed by a fault of the relay", this.user, { ...ofRequest(this), err: error });
    if (!this.transaction.answered) this.transaction.respond(new SipResponse(500, reasonPhrase(500)));
    this.cancelBranches(false);
    this.change?.refused();
    this.close();
  }
}

const ELSEWHERE = 'SIP;cause=200;text="Call completed elsewhere"';
const DECLINED = 'SIP;cause=600;text="Declined elsewhere"';

const NOBODY: readonly string[] = [];
