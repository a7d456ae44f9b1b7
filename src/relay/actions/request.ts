import type { Failure } from "../../../machines/events.ts";
import { copyRequest, requestMachine } from "../../../machines/request.ts";
import { ownerOf } from "../../chart/actor.ts";
import type { Chart } from "../../chart/chart.ts";
import { expectProvided } from "../../chart/nodes.ts";
import { chartFrom } from "../../chart/table.ts";
import type { SettledVerdict } from "../../directory/authenticator.ts";
import type { ForkMode } from "../../directory/types.ts";
import { Credits, prepaidIn } from "../charges/credits.ts";
import { laterStatus } from "../dialog/reply.ts";
import { challengeHeaders, HELD_OFF, noteRefusal } from "../leg/sign-in.ts";
import { contained } from "../model/contained.ts";
import type { Core } from "../model/core.ts";
import { ofRequest } from "../model/log-facts.ts";
import { forkFor } from "../request/fork-choice.ts";
import type { ClientRequest } from "../request/request.ts";
import { moveOf } from "../session/move.ts";

/*
 * What the actions of the chart `request` do until an app server is asked: find out who the client is, which service it
 * asks for, who offers that service, and whether the client can pay. After that, the request acts itself
 * (../request/request.ts).
 */

/** M2: tells the chart what the router found out about the user when the request came in. */
function reportSignIn(request: ClientRequest): void {
  const { verdict, core } = request;
  if (verdict.verdict !== "asking") {
    report(request, verdict);
    return;
  }
  const settled = verdict.settled.then((known) => {
    if (!request.closed) report(request, known); // else cancelled in the meantime
  });
  void contained(core, settled, request);
}

const USED_NONCE = "sign-in: the nonce of another node is old or was used, or that node does not answer";

function report(request: ClientRequest, verdict: SettledVerdict): void {
  const { core } = request;
  switch (verdict.verdict) {
    case "accepted": {
      const { user } = verdict;
      // A change of service and a move are charged to the account that pays for the session before.
      request.signedIn(user, (request.change ?? request.move)?.first.facts.user ?? core.directory.account(user));
      admit(request);
      return;
    }
    case "throttled":
      request.refuse(
        "user.refused",
        {
          status: laterStatus(request.request),
          headers: [["Retry-After", String(verdict.retryAfterS)]],
        },
        HELD_OFF,
      );
      return;
    case "challenge":
      request.refuse("user.refused", { status: 401, headers: challengeHeaders(verdict.challenges) }, USED_NONCE);
      return;
    case "refused":
      noteRefusal(request.record, verdict);
      request.refuse("user.refused", { status: verdict.status, headers: challengeHeaders(verdict.challenges) });
  }
}

/**
 * Goes on if the user has not too much under way: no user may take everything that the relay has (decision 14). A
 * change of service within a session is not a further call, and is not counted.
 */
function admit(request: ClientRequest): void {
  const { core, user } = request;
  if (request.change) {
    admitted(request, undefined);
    return;
  }
  if (request.redirection) {
    core.loads.requestBegan(user); // in the place of the one before
    request.counts();
    admitted(request, undefined);
    return;
  }
  const begun = core.loads.begin(user, core.directory.user(user)?.limits?.sessions);
  if (!(begun instanceof Promise)) {
    if (begun === undefined) request.counts();
    admitted(request, begun);
    return;
  }
  const settled = begun.then((why) => {
    if (!request.closed) {
      if (why === undefined) request.counts();
      admitted(request, why);
    } else if (why === undefined) core.loads.requestEnded(user); // cancelled in the meantime
  });
  void contained(core, settled, request);
}

function admitted(request: ClientRequest, why: string | undefined): void {
  const { core, user } = request;
  if (why === undefined) {
    request.actor.send({ type: "user.accepted", user });
    return;
  }
  core.counters.overUserLimit++;
  core.peerLog.info("a user has as much under way as one may", user, { ...ofRequest(request), why });
  request.refuse("user.refused", { status: laterStatus(request.request), headers: [["Retry-After", "5"]] }, why);
}

/** M3: finds out which service the client asks for, and whether it moves from another session. */
function identify(request: ClientRequest): void {
  const { core, change, actor } = request;
  if (change) {
    const { fork, service } = change.identified;
    // A change leads to one session: of several successes the first counts.
    actor.send({ type: "service.identified", service: service.id, fork: fork === "all" ? "first" : fork });
    return;
  }
  const { calls } = request;
  if (calls) {
    actor.send({ type: "service.identified", service: calls.identified.service.id, fork: "sequential" });
    return;
  }
  if (!request.move) {
    const move = moveOf(core, request.request, request.account);
    if (!move.ok) {
      request.refuse("service.refused", move.error);
      return;
    }
    if (move.value) request.moves(move.value);
  }
  const result = core.directory.identify(request.request, request.user);
  if (!result.ok) {
    const { rule, ...failure } = result.error;
    if (rule !== undefined) request.record?.isDecidedBy(rule);
    request.refuse("service.refused", failure);
    return;
  }
  const { service, fork, clientMayChoose } = result.value;
  const choice = forkFor(fork, clientMayChoose, request.request.headers);
  request.asksFor(result.value, choice === "single");
  // A REFER is for one session (RFC 3515 §2): of several successes the first counts.
  const several = choice === "all" && request.move?.clientLeg ? "first" : choice;
  actor.send({ type: "service.identified", service: service.id, fork: several === "single" ? "sequential" : several });
}

/** M4: finds the app servers that are to be asked. */
function search(request: ClientRequest): void {
  const { core, change, actor, service } = request;
  const prepaid = payingCurrency(request) !== undefined;
  if (change?.keepsServer) {
    actor.send({ type: "servers.found", servers: [change.first.appServer.id], prepaid });
    return;
  }
  if (request.calls) {
    actor.send({ type: "servers.found", servers: [request.calls.appServer.id], prepaid });
    return;
  }
  const allowed = request.redirection?.way.only ?? request.allowed;
  const servers = core.directory.serversFor(service, allowed);
  if (servers.length === 0) {
    request.refuse("servers.none", nobodyFor(core, service, allowed));
    return;
  }
  const bound = request.single ? 1 : core.config.limits.branches;
  actor.send({ type: "servers.found", servers: servers.slice(0, bound).map((server) => server.id), prepaid });
}

/**
 * 404 where nobody offers the service. Else there are app servers that offer it, but none can take a session now: the
 * client may try again later. 503 is for the bound on sessions that the operator has set. Where app servers are down or
 * rest it is 480, since other services can be had all the same (RFC 3261 §21.4.18, §21.5.4).
 */
function nobodyFor({ directory }: Core, service: string, allowed: readonly string[] | undefined): Failure {
  if (directory.offering(service, allowed) === 0)
    return { status: 404, reason: "No application server offers this service" };
  const { full, restsForMs } = directory.unavailable(service, allowed);
  const retryAfterS = full || restsForMs === undefined ? 10 : Math.ceil(restsForMs / 1000);
  return { status: full ? 503 : 480, headers: [["Retry-After", String(retryAfterS)]] };
}

/** The currency of the balance that pays for the session; undefined: the user pays by bill. */
const payingCurrency = ({ core, user, change, move }: ClientRequest): string | undefined =>
  prepaidIn(core, user, (change ?? move)?.first);

/** Holds the price of the first interval in a prepaid user's balance, before any app server is asked. */
function reserve(request: ClientRequest, servers: readonly string[], fork: ForkMode): void {
  const { core, id, account, change } = request;
  const currency = payingCurrency(request)!;
  const { tariff, service } = request.identified!;
  const taxes = core.directory.taxes(service.id);
  const used = change?.first.callParts.used(tariff);
  const credits = new Credits(core, { user: account, currency, tariff, taxes, used }, id, fork);
  request.pays(credits);
  // If this request replaces a redirected one, the hold of that one is given back first.
  const before = request.redirection?.from.givenBack;
  const take = () => takeCredits(request, credits, servers);
  const taken = before ? before.then(() => (core.requests.has(id) ? take() : undefined)) : take();
  void contained(core, taken, request);
}

async function takeCredits(request: ClientRequest, credits: Credits, servers: readonly string[]): Promise<void> {
  const { core, id, actor } = request;
  const result = await credits.take(servers);
  if (!core.requests.has(id)) return; // cancelled in the meantime
  if (result.ok) actor.send({ type: "credit.held", servers: result.value });
  else {
    core.counters.creditRefused++;
    request.record?.because("the balance does not cover it");
    actor.send({ type: "credit.refused", failure: result.error });
  }
}

/**
 * The chart `request` with its actions, made once, at start: providing them anew for each actor costs half a
 * millisecond.
 */
export function requestLogic(): Chart<typeof requestMachine> {
  /** Finds the request that the actor belongs to. */
  const of = ownerOf<ClientRequest>;
  const on = (act: (request: ClientRequest) => void) => (args: { self: unknown }) => {
    const request = of(args);
    if (request) act(request);
  };
  const machine = requestMachine.provide({
    actions: {
      reportSignIn: on(reportSignIn),
      identify: on(identify),
      search: on(search),
      reserve: (x) => {
        const request = of(x);
        if (request) reserve(request, x.context.waiting, x.context.fork);
      },
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
