import { assign, setup } from "xstate";
import type { Failure, Fork, RequestEvent } from "./events.ts";
import { providedAtStart } from "./provided.ts";

export interface RequestInput {
  /** Says to whoever reads the context which request it is. The actions do not need it: they have the actor's owner. */
  readonly id: string;
}

export interface RequestContext {
  readonly version: 1;
  readonly id: string;
  readonly user: string | null;
  readonly service: string | null;
  readonly fork: Fork;
  /** App servers still to be asked, best first. */
  readonly waiting: readonly string[];
  /** App servers that were asked and have not given a final answer. */
  readonly asked: readonly string[];
  readonly answers: number;
  /** The best failure so far (RFC 3261 §16.7, step 6). */
  readonly best: Failure | null;
}

/** Each step of a request makes a copy. Field by field, V8 does it several times as fast as with a spread. */
export const copyRequest = (of: RequestContext): RequestContext => ({
  version: of.version,
  id: of.id,
  user: of.user,
  service: of.service,
  fork: of.fork,
  waiting: of.waiting,
  asked: of.asked,
  answers: of.answers,
  best: of.best,
});

/**
 * A client's INVITE from its arrival to the last final answer of the app servers asked (E 1, E 7; C 1, C 7, C 8; M1-M8,
 * M25). Each branch (one app server that is asked) is an actor of the chart `session`. It tells this actor
 * `branch.answered`, `branch.failed` or `branch.released`.
 */
export const requestMachine = setup({
  types: {
    context: {} as RequestContext,
    events: {} as RequestEvent,
    input: {} as RequestInput,
  },
  actions: {
    /** Compares the client with the registered users; answers `user.accepted` or `user.refused` (M2). */
    reportSignIn: providedAtStart,
    /** Applies the rules; answers `service.identified` or `service.refused` (M3). */
    identify: providedAtStart,
    /** Looks for app servers that offer the service; answers `servers.found` or `servers.none` (M4). */
    search: providedAtStart,
    /** Holds the price of the first interval in a prepaid user's balance; answers `credit.held` or `credit.refused`. */
    reserve: providedAtStart,
    /** Starts a session actor for each app server just moved from `waiting` to `asked` (M5, M8). */
    inviteServers: providedAtStart,
    /** Gives up every branch that has not answered (M8: CANCEL). */
    cancelBranches: providedAtStart,
    /** Cancels every branch, but takes a 2xx that crosses the CANCEL (RFC 3261 §16.7, step 5). */
    withdrawBranches: providedAtStart,
    /**
     * Lets `wait.over` come when no further success can be passed on (RFC 6026 §7.1, timer L), or sooner if the
     * operator says so.
     */
    awaitFurther: providedAtStart,
    /** Answers the client with the failure (M2: 401, M4: 404, M5). */
    reject: (_, _params: Failure) => providedAtStart(),
    /** Answers the client's INVITE with 487 (RFC 3261 §9.2). */
    confirmCancel: providedAtStart,
    /** Forgets the request. */
    close: providedAtStart,

    rememberUser: assign({ user: ({ event }) => (event.type === "user.accepted" ? event.user : null) }),
    rememberService: assign(({ event }) =>
      event.type === "service.identified" ? { service: event.service, fork: event.fork } : {},
    ),
    rememberServers: assign({
      waiting: ({ event }) => (event.type === "servers.found" || event.type === "credit.held" ? event.servers : []),
    }),
    /** Moves the app servers to be asked now from `waiting` to `asked`: the next one, or all of them. */
    takeNext: assign(({ context: { fork, waiting } }) =>
      fork === "sequential"
        ? { asked: waiting.slice(0, 1), waiting: waiting.slice(1) }
        : { asked: waiting, waiting: [] },
    ),
    dropAnswered: assign(({ context, event }) =>
      event.type === "branch.answered"
        ? { asked: context.asked.filter((branch) => branch !== event.branch), answers: context.answers + 1 }
        : {},
    ),
    dropFailed: assign(({ context, event }) =>
      event.type === "branch.failed"
        ? {
            asked: context.asked.filter((branch) => branch !== event.branch),
            best: betterFailure(context.best, event.failure),
          }
        : {},
    ),
    dropReleased: assign(({ context, event }) =>
      event.type === "branch.released" ? { asked: context.asked.filter((branch) => branch !== event.branch) } : {},
    ),
    dropWaiting: assign({ waiting: [] }),
  },
  guards: {
    isPrepaid: ({ event }) => event.type === "servers.found" && event.prepaid === true,
    takesEveryAnswer: ({ context }) => context.fork === "all",
    isLastBranch: ({ context }) => context.asked.length <= 1,
    hasAnswers: ({ context }) => context.answers > 0,
    hasWaiting: ({ context }) => context.waiting.length > 0,
    /** A 6xx ends the search (RFC 3261 §16.7, step 5). */
    isGlobalFailure: ({ event }) => event.type === "branch.failed" && event.failure.status >= 600,
    isGlobalFailureOfLast: ({ context, event }) =>
      event.type === "branch.failed" && event.failure.status >= 600 && context.asked.length <= 1,
  },
}).createMachine({
  id: "request",
  context: ({ input }) => ({
    version: 1,
    id: input.id,
    user: null,
    service: null,
    fork: "sequential",
    waiting: [],
    asked: [],
    answers: 0,
    best: null,
  }),
  initial: "authenticating",
  on: {
    "client.cancel": { target: ".cancelled", actions: "confirmCancel" },
    // The client is gone and reads no answer, but its transaction needs one to end.
    "client.lost": { target: ".cancelled", actions: "confirmCancel" },
  },
  states: {
    authenticating: {
      entry: "reportSignIn",
      on: {
        "user.accepted": { target: "identifying", actions: "rememberUser" },
        "user.refused": { target: "rejected", actions: { type: "reject", params: ({ event }) => event.failure } },
      },
    },
    identifying: {
      entry: "identify",
      on: {
        "service.identified": { target: "searching", actions: "rememberService" },
        "service.refused": { target: "rejected", actions: { type: "reject", params: ({ event }) => event.failure } },
      },
    },
    searching: {
      entry: "search",
      on: {
        "servers.found": [
          { guard: "isPrepaid", target: "reserving", actions: "rememberServers" },
          { target: "inviting", actions: "rememberServers" },
        ],
        "servers.none": { target: "rejected", actions: { type: "reject", params: ({ event }) => event.failure } },
      },
    },
    /**
     * The user pays in advance, so the balance is asked before any app server. Then only those app servers are asked
     * for which the credit is enough.
     */
    reserving: {
      entry: "reserve",
      on: {
        "credit.held": { target: "inviting", actions: "rememberServers" },
        "credit.refused": { target: "rejected", actions: { type: "reject", params: ({ event }) => event.failure } },
      },
    },
    inviting: {
      entry: ["takeNext", "inviteServers"],
      on: {
        "branch.answered": [
          { guard: "isLastBranch", target: "answered", actions: "dropAnswered" },
          { guard: "takesEveryAnswer", target: "collecting", actions: "dropAnswered" },
          { target: "answered", actions: "dropAnswered" },
        ],
        "branch.failed": [
          { guard: "isGlobalFailureOfLast", target: "refused", actions: ["dropFailed", "dropWaiting"] },
          { guard: "isGlobalFailure", target: "declined", actions: ["dropFailed", "dropWaiting"] },
          { guard: "isLastBranch", target: "refused", actions: "dropFailed" },
          { actions: "dropFailed" },
        ],
        // BYE in the early dialog of one branch is about that one (RFC 3261 §15).
        "branch.released": [
          { guard: "isLastBranch", target: "cancelled", actions: ["dropReleased", "confirmCancel"] },
          { actions: "dropReleased" },
        ],
      },
    },
    /**
     * One success was passed on to the client, and each further one will be (M25). Failures no longer matter to the
     * client.
     */
    collecting: {
      entry: "awaitFurther",
      on: {
        "branch.answered": [
          { guard: "isLastBranch", target: "answered", actions: "dropAnswered" },
          { actions: "dropAnswered" },
        ],
        "branch.failed": [
          { guard: "isGlobalFailure", target: "answered", actions: "dropFailed" },
          { guard: "isLastBranch", target: "answered", actions: "dropFailed" },
          { actions: "dropFailed" },
        ],
        "branch.released": [
          { guard: "isLastBranch", target: "answered", actions: "dropReleased" },
          { actions: "dropReleased" },
        ],
        "wait.over": "answered",
      },
    },
    /**
     * An app server answered 6xx. The other branches are cancelled, and their final answers awaited, since a 2xx may be
     * on its way (RFC 3261 §16.7, step 5).
     */
    declined: {
      entry: "withdrawBranches",
      on: {
        "branch.answered": [
          { guard: "isLastBranch", target: "answered", actions: "dropAnswered" },
          { guard: "takesEveryAnswer", actions: "dropAnswered" },
          { target: "answered", actions: "dropAnswered" },
        ],
        "branch.failed": [
          { guard: "isLastBranch", target: "refused", actions: "dropFailed" },
          { actions: "dropFailed" },
        ],
        "branch.released": [
          { guard: "isLastBranch", target: "refused", actions: "dropReleased" },
          { actions: "dropReleased" },
        ],
      },
    },
    /** The last branch asked has failed. Was a success passed on before, or is there another app server to ask? */
    refused: {
      always: [
        { guard: "hasAnswers", target: "answered" },
        { guard: "hasWaiting", target: "inviting" },
        {
          target: "rejected",
          actions: { type: "reject", params: ({ context }) => ofTheRelay(context.best ?? { status: 480 }) },
        },
      ],
    },
    /** At least one app server accepted. Its session goes on in an actor of its own. */
    answered: { type: "final", entry: ["cancelBranches", "close"] },
    rejected: { type: "final", entry: ["cancelBranches", "close"] },
    cancelled: { type: "final", entry: ["cancelBranches", "close"] },
  },
});

/**
 * What the client hears of an app server's failure. A 503 becomes 500: the client would take a 503 for the relay's own,
 * and ask the relay for no service at all for a while (RFC 3261 §16.7, step 6; §21.5.4).
 */
const ofTheRelay = (failure: Failure): Failure =>
  failure.status === 503 && !failure.own ? { ...failure, status: 500 } : failure;

/**
 * Which of two failures a client should hear of (RFC 3261 §16.7, step 6). A 6xx comes before all others, then the
 * lowest class. Within 4xx, those come first that tell the client what to do differently, and the 408 of a silent
 * server comes last. Within 5xx, a 503 comes last.
 */
export function betterFailure(a: Failure | null, b: Failure): Failure {
  return a === null || rank(b.status) < rank(a.status) ? b : a;
}

const TELLING = [401, 407, 415, 420, 484];

function rank(status: number): number {
  if (status >= 600) return 0;
  if (TELLING.includes(status)) return 4;
  if (status === 408) return 4.9;
  if (status >= 400 && status < 500) return 4.5;
  if (status === 503) return 5.9;
  return Math.floor(status / 100);
}
