import type { Failure } from "../../../machines/events.ts";
import { copyRequest, requestMachine } from "../../../machines/request.ts";
import type { SessionFacts } from "../../charging/events/events.ts";
import { ChartActor, type Owner, ownerOf } from "../../chart/actor.ts";
import type { Chart } from "../../chart/chart.ts";
import { expectProvided } from "../../chart/nodes.ts";
import { chartFrom } from "../../chart/table.ts";
import type { Verdict } from "../../directory/authenticator.ts";
import type { Unavailable } from "../../directory/pool.ts";
import type { ForkMode, Identified } from "../../directory/types.ts";
import { parseRequestDisposition } from "../../sip/disposition.ts";
import { type SipRequest, SipResponse } from "../../sip/message.ts";
import { reasonPhrase } from "../../sip/response.ts";
import { detach } from "../../sip/text.ts";
import type { TimerHandle } from "../../support/clock.ts";
import { shown } from "../../support/peer-log.ts";
import type { Timeline } from "../../support/timeline.ts";
import type { ServerTransaction } from "../../transaction/types.ts";
import { Credits, prepaidIn } from "../charges/credits.ts";
import { hasOption, withoutPassword } from "../dialog/passing.ts";
import { laterStatus } from "../dialog/reply.ts";
import { among, MAX_REDIRECTS, TransactionFor, type Way, wayOn } from "../leg/redirect.ts";
import { Refusals, refusal, withinDialog } from "../leg/refusals.ts";
import { challengeHeaders } from "../leg/sign-in.ts";
import { contained } from "../model/contained.ts";
import type { ChangePort, Core, LegPort as Leg, Move, RequestPort, SessionPort } from "../model/core.ts";
import type { Origin } from "../model/ports.ts";
import { moveOf } from "../session/move.ts";
import { Session } from "../session/session.ts";
import { forkFor } from "./fork-choice.ts";

/**
 * The SIP side of one client request: the INVITE's transaction with the client, and the sessions that are made of it.
 * What happens when is the chart's to say (machines/request.ts); this is what its actions do.
 */
export class ClientRequest implements Origin, Owner, RequestPort {
  readonly id: string;
  readonly transaction: ServerTransaction;
  readonly actor: ChartActor<typeof requestMachine>;
  closed = false;
  /** The registered user, once authenticated. */
  user = "";
  /** The name of the account that it is charged to. */
  account = "";
  identified: Identified | undefined;
  /** The session from which the client moves to the one that it asks for (M23, M24). */
  move: Move | undefined;
  /** The sessions of this request that are not decided yet, one for each app server that was asked. */
  private branches: readonly SessionPort[] = [];
  /** The answers of the app servers that refused; undefined: none has. */
  private refusals: Refusals | undefined;
  /** The app servers that were asked so far. */
  private tried: readonly string[] = NOBODY;
  /** Where this request goes on in the place of one that was redirected: that one, and where it was redirected to. */
  private redirected: { readonly from: ClientRequest; readonly way: Way } | undefined;
  /** The request that goes on in the place of this one, which was redirected. */
  private next: ClientRequest | undefined;
  /** The change of service that the client asks for in a session that stands (M20, M21). */
  change: ChangePort | undefined;
  /** What is held in a prepaid user's balance for the sessions to come. */
  credits: Credits | undefined;
  /** Resolves when the part of `credits` that no session used is back in the balance. */
  private givenBack: Promise<void> | undefined;
  /** Why branches are cancelled, for Reason in their CANCEL (RFC 3326). */
  private cancelReason: string | undefined;
  /**
   * An app server's 2xx is on its way to the client, perhaps still waiting until the start is on record. A CANCEL comes
   * too late from then on (RFC 3261 §9.2).
   */
  told = false;
  /** The client wants only one app server to be asked (RFC 3841 §9.1). */
  private single = false;
  /** The request counts among those that its user has under way. */
  private counted = false;
  private furtherTimer: TimerHandle;
  private readonly core: Core;
  private readonly verdict: Exclude<Verdict, { verdict: "challenge" }>;

  constructor(core: Core, transaction: ServerTransaction, verdict: Exclude<Verdict, { verdict: "challenge" }>) {
    this.core = core;
    this.verdict = verdict;
    this.transaction = transaction;
    this.id = core.random.token(96);
    this.actor = new ChartActor(core.requestLogic, {
      id: this.id,
      input: { id: this.id },
      owner: this,
      inspectors: core.inspectors,
    });
  }

  get call(): string {
    return this.change?.first.facts.call ?? this.redirected?.from.call ?? this.id;
  }

  get asked(): string {
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
    if (!this.redirected) this.core.counters.requests++;
    this.core.requests.set(this.id, this);
    this.transaction.onCancel = (cancel) => this.giveUp(cancel.headers.get("reason"));
    this.transaction.onFlowFailed = () => this.lost();
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
    this.actor.send({ type: "client.lost" });
  }

  /** M2: tells the chart what the router found out about the user when the request came in. */
  reportSignIn(): void {
    const { verdict } = this;
    switch (verdict.verdict) {
      case "accepted":
        this.user = verdict.user;
        if (this.isOneTooMany()) return;
        // A change of service and a move are charged to the account that pays for the session before.
        this.account = (this.change ?? this.move)?.first.facts.user ?? this.core.directory.account(verdict.user);
        this.actor.send({ type: "user.accepted", user: verdict.user });
        return;
      case "throttled":
        this.refuse("user.refused", {
          status: laterStatus(this.transaction.request),
          headers: [["Retry-After", String(verdict.retryAfterS)]],
        });
        return;
      case "refused":
        this.refuse("user.refused", { status: verdict.status, headers: challengeHeaders(verdict.challenges) });
    }
  }

  /**
   * No user may take everything that the relay has (decision 14). A change of service in a session that stands is no
   * further call, and is not counted.
   */
  private isOneTooMany(): boolean {
    if (this.change) return false;
    const { core, user } = this;
    const why = this.redirected ? undefined : core.loads.whyNot(user);
    if (why === undefined) {
      this.counted = true;
      core.loads.requestBegan(user);
      return false;
    }
    core.counters.overUserLimit++;
    core.peerLog.info("a user has as much under way as one may", user, { user: shown(user), why });
    this.refuse("user.refused", { status: laterStatus(this.transaction.request), headers: [["Retry-After", "5"]] });
    return true;
  }

  /** M3: finds out which service the client asks for, and whether it moves from another session. */
  identify(): void {
    if (this.change) {
      const { fork } = this.change.identified;
      // A change leads to one session: of several successes the first counts.
      this.actor.send({
        type: "service.identified",
        service: this.change.identified.service.id,
        fork: fork === "all" ? "first" : fork,
      });
      return;
    }
    if (!this.move) {
      const move = moveOf(this.core, this.transaction.request, this.account);
      if (!move.ok) {
        this.refuse("service.refused", move.error);
        return;
      }
      this.move = move.value;
    }
    const result = this.core.directory.identify(this.transaction.request, this.user);
    if (!result.ok) {
      this.refuse("service.refused", result.error);
      return;
    }
    this.identified = result.value;
    const { service, fork, clientMayChoose } = result.value;
    const choice = forkFor(fork, clientMayChoose, this.transaction.request.headers);
    this.single = choice === "single";
    // A REFER is for one session (RFC 3515 §2): of several successes the first counts.
    const several = choice === "all" && this.move?.clientLeg ? "first" : choice;
    this.actor.send({
      type: "service.identified",
      service: service.id,
      fork: several === "single" ? "sequential" : several,
    });
  }

  /** M4: finds the app servers that offer the service. */
  search(): void {
    const { service } = this.identified!;
    const appServers = this.redirected?.way.only ?? this.allowed;
    const prepaid = this.prepaidIn !== undefined;
    if (this.change?.keepsServer) {
      this.actor.send({ type: "servers.found", servers: [this.change.first.appServer.id], prepaid });
      return;
    }
    const offering = this.core.directory.offering(service.id, appServers);
    if (offering === 0) {
      this.refuse("servers.none", { status: 404, reason: "No application server offers this service" });
      return;
    }
    const servers = this.core.directory.serversFor(service.id, appServers);
    if (servers.length === 0) {
      this.refuse("servers.none", unavailable(this.core.directory.unavailable(service.id, appServers)));
      return;
    }
    const bound = this.single ? 1 : this.core.config.limits.branches;
    this.actor.send({
      type: "servers.found",
      servers: servers.slice(0, bound).map((server) => server.id),
      prepaid,
    });
  }

  /** The currency of the balance that pays for the session; undefined: the user pays by bill. */
  private get prepaidIn(): string | undefined {
    return prepaidIn(this.core, this.user, (this.change ?? this.move)?.first);
  }

  /** Holds what the first interval costs in a prepaid user's balance, before any app server is asked. */
  reserve(servers: readonly string[], fork: ForkMode): void {
    const currency = this.prepaidIn!;
    const { tariff, service } = this.identified!;
    const taxes = this.core.directory.taxes(service.id);
    const used = this.change?.first.callParts.used(tariff);
    const credits = new Credits(this.core, { user: this.account, currency, tariff, taxes, used }, this.id, fork);
    this.credits = credits;
    // Where this request goes on in the place of a redirected one, what that one held comes back first.
    const before = this.redirected?.from.givenBack;
    const take = () => this.take(credits, servers);
    const taken = before ? before.then(() => (this.core.requests.has(this.id) ? take() : undefined)) : take();
    void contained(this.core, taken, this);
  }

  private async take(credits: Credits, servers: readonly string[]): Promise<void> {
    const result = await credits.take(servers);
    if (!this.core.requests.has(this.id)) return; // cancelled in the meantime
    if (result.ok) this.actor.send({ type: "credit.held", servers: result.value });
    else {
      this.core.counters.creditRefused++;
      this.actor.send({ type: "credit.refused", failure: result.error });
    }
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
        this.credits?.giveBack(id);
        this.actor.send({ type: "branch.failed", branch: id, failure: { status: 500 } });
        continue;
      }
      if (this.change) {
        this.change.second = session;
        session.comesOf(this.change);
      }
      this.branches = [...this.branches, session];
      session.start();
    }
  }

  /** This branch is decided: the app server has taken it or refused it, or the client has given it up. */
  decided(session: SessionPort): void {
    this.branches = this.branches.filter((branch) => branch !== session);
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
    if (refusals && failure.status < 600 && refusals.redirections.length > 0 && this.follow(refusals.redirections))
      return;
    this.core.counters.rejected++;
    const heard = this.change ? withinDialog(failure) : failure;
    const response = refusals?.answer(heard) ?? refusal(heard);
    this.transaction.respond(response);
    this.change?.refused();
  }

  /**
   * Goes on to where app servers have redirected the request, when nobody else is left to ask. False: they redirected
   * it to nothing that the portal offers.
   */
  private follow(redirections: readonly SipResponse[]): boolean {
    const { core, transaction, change, move, user } = this;
    const way = this.hops < MAX_REDIRECTS && this.mayFollow ? wayOn(core, this, redirections) : undefined;
    if (!way || (change && (way.request || change.keepsServer))) {
      const facts = { call: this.call, service: this.service, appServers: this.tried };
      core.peerLog.info("an app server's redirection leads nowhere that the portal offers", this.service, facts);
      return false;
    }
    const onward = way.request ? new TransactionFor(transaction, way.request) : transaction;
    const next = new ClientRequest(core, onward, { verdict: "accepted", user });
    next.redirected = { from: this, way };
    next.move = move;
    next.change = change;
    next.identified = change?.identified;
    this.next = next;
    core.counters.redirected++;
    return true; // `close` of this request starts the next one
  }

  /** Whether redirections may be followed: a client may forbid it by `no-recurse` (RFC 3841 §9.1). */
  private get mayFollow(): boolean {
    if (this.core.config.session.redirects === "off") return false;
    const wish = parseRequestDisposition(this.request.headers.all("request-disposition"));
    return !(wish.ok && wish.value.recurse === false);
  }

  /** How many redirections have led here. */
  private get hops(): number {
    return this.redirected ? this.redirected.from.hops + 1 : 0;
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

  /** Whether the request was redirected to another service than the client has asked for. */
  get isForAnother(): boolean {
    return (
      this.redirected !== undefined && (this.redirected.way.request !== undefined || this.redirected.from.isForAnother)
    );
  }

  wasAsked(service: string, appServer: string): boolean {
    if (service === this.service && this.tried.includes(appServer)) return true;
    return this.redirected?.from.wasAsked(service, appServer) ?? false;
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
  }

  private refuse(type: "user.refused" | "service.refused" | "servers.none", failure: Failure): void {
    this.actor.send({ type, failure });
  }

  /** A fault of ours ends this one request and nothing else (decision 13). */
  crashed(error: unknown): void {
    this.core.counters.crashed++;
    this.core.peerLog.error("request failed by a fault of the relay", this.user, { call: this.id, err: error });
    if (!this.transaction.answered) this.transaction.respond(new SipResponse(500, reasonPhrase(500)));
    this.cancelBranches(false);
    this.change?.refused();
    this.close();
  }
}

/**
 * There are app servers that offer the service, but none can take a session now: the client may try again later. 503 is
 * for the bound on sessions that the operator has set. Where app servers are down or rest it is 480, since other
 * services can be had all the same (RFC 3261 §21.4.18, §21.5.4).
 */
function unavailable({ full, restsForMs }: Unavailable): Failure {
  const retryAfterS = full || restsForMs === undefined ? 10 : Math.ceil(restsForMs / 1000);
  return { status: full ? 503 : 480, headers: [["Retry-After", String(retryAfterS)]] };
}

const ELSEWHERE = 'SIP;cause=200;text="Call completed elsewhere"';
const DECLINED = 'SIP;cause=600;text="Declined elsewhere"';

const NOBODY: readonly string[] = [];

/**
 * The chart `request` with its actions, made once, at start: providing them anew for each actor costs half a
 * millisecond.
 */
export function requestLogic(): Chart<typeof requestMachine> {
  const of = ownerOf<ClientRequest>;
  const machine = requestMachine.provide({
    actions: {
      reportSignIn: (x) => of(x)?.reportSignIn(),
      identify: (x) => of(x)?.identify(),
      search: (x) => of(x)?.search(),
      reserve: (x) => of(x)?.reserve(x.context.waiting, x.context.fork),
      inviteServers: (x) => of(x)?.inviteServers(x.context.asked),
      cancelBranches: (x) => of(x)?.cancelBranches(x.context.answers > 0),
      withdrawBranches: (x) => of(x)?.withdrawBranches(),
      awaitFurther: (x) => of(x)?.awaitFurther(),
      reject: (x, failure) => of(x)?.reject(failure),
      confirmCancel: (x) => of(x)?.confirmCancel(),
      close: (x) => of(x)?.close(),
    },
  });
  expectProvided(requestMachine, machine);
  return chartFrom(machine, { copy: copyRequest });
}
