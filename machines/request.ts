import { assign, setup } from "xstate";
import type { Failure, Fork, RequestEvent } from "./events.ts";
import { providedAtStart } from "./provided.ts";

export interface RequestInput {
  /** Names this request; the implementations find its SIP side by it. */
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

/** Field by field, which V8 does several times as fast as a spread: each step of a request makes a copy. */
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
 * A client's INVITE from its arrival to the last final answer of the app servers asked (E 1, E 7; C 1, C 7, C 8;
 * M1-M8, M25). Each branch, an app server that is asked, is an actor of the chart `session`; it tells this one
 * `branch.answered` or `branch.failed`.
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
    /** Holds what the first interval costs in a prepaid user's balance; answers `credit.held` or `credit.refused`. */
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
    /** Moves who is to be asked now: the next one, or all of them. */
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
    // Nobody reads the answer, but the transaction needs its end.
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
    /** Who pays in advance: nobody is asked before the balance is. Those that there is credit for are asked. */
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
    /** One success was passed on, and each that follows will be (M25): failures mean nothing to the client any more. */
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
     * A 6xx came: the others are cancelled and their ends awaited, since a 2xx may be under way (RFC 3261 §16.7, step
     * 5).
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
    /** The branches are through with failures, at least lately: is there another to ask, or an answer given before? */
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
    /** At least one session came of it; it lives on in its own actor. */
    answered: { type: "final", entry: ["cancelBranches", "close"] },
    rejected: { type: "final", entry: ["cancelBranches", "close"] },
    cancelled: { type: "final", entry: ["cancelBranches", "close"] },
  },
});

/**
 * What the client hears of an app server's failure: a 503 would say that the relay itself is not to be asked for a
 * while, for any service (RFC 3261 §16.7, step 6; §21.5.4).
 */
const ofTheRelay = (failure: Failure): Failure => (failure.status === 503 ? { ...failure, status: 500 } : failure);

/**
 * Which of two failures a client should hear of (RFC 3261 §16.7, step 6): a 6xx before all others, then the lowest
 * class; within 4xx first those that tell the client what to do differently, last the 408 of a server that was
 * silent; within 5xx a 503 last.
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
