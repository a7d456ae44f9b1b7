import { assign, setup } from "xstate";
import { type Ending, type Failure, otherSide, type SessionEvent, type Side } from "./events.ts";
import { providedAtStart } from "./provided.ts";

export interface SessionInput {
  /** Names the session everywhere: in the events, on the bill, in the log. */
  readonly id: string;
  /** From which moment the clock runs: the relayed ACK, or the relayed answer. */
  readonly clock: "ack" | "answer";
}

export interface SessionContext {
  readonly version: 1;
  readonly id: string;
  readonly clock: "ack" | "answer";
  /** When the clock started; null: it has not, and time costs nothing. */
  readonly startedAt: number | null;
  readonly endedAt: number | null;
  /** Who ended the session; `change`: the next part of the call has taken over. Null while it runs. */
  readonly endedBy: Side | "change" | Ending | null;
  /** When the BYE was passed on. The clock stops at this time if the BYE is never answered. */
  readonly byeAt: number | null;
  /** Ends whose BYE is not answered yet. */
  readonly leaving: readonly Side[];
  /** When a prepaid session's money is used up; null: postpaid, or its time costs nothing. */
  readonly creditUntil: number | null;
}

/** Each step of a session makes a copy. Field by field, V8 does it several times as fast as with a spread. */
export const copySession = (of: SessionContext): SessionContext => ({
  version: of.version,
  id: of.id,
  clock: of.clock,
  startedAt: of.startedAt,
  endedAt: of.endedAt,
  endedBy: of.endedBy,
  byeAt: of.byeAt,
  leaving: of.leaving,
  creditUntil: of.creditUntil,
});

const NOBODY: readonly Side[] = [];
const BOTH: readonly Side[] = ["client", "server"];

/**
 * One session: a dialog with the client and a dialog with one app server, from the INVITE to the app server until both
 * have hung up (E 1, E 2, E 3; C 1, C 3, C 4; M5-M7, M11-M16).
 */
export const sessionMachine = setup({
  types: {
    context: {} as SessionContext,
    events: {} as SessionEvent,
    input: {} as SessionInput,
  },
  actions: {
    /** Sends the INVITE to the app server (M5). */
    sendInvite: providedAtStart,
    /** Gives the INVITE up: CANCEL, once a provisional answer came (RFC 3261 §9.1). */
    sendCancel: providedAtStart,
    /** Stops repeating provisional answers that the client has not acknowledged: their dialog is over (RFC 3262 §3). */
    dropProgress: providedAtStart,
    /** Passes a provisional answer on to the client (M6). */
    relayProgress: providedAtStart,
    /**
     * Passes the 2xx on to the client, and repeats it until the ACK comes (M6; RFC 3261 §13.3.1.4). Where the clock
     * starts with the answer, it first waits until that start is on record.
     */
    relayAnswer: providedAtStart,
    /** Tells the request that this branch came to nothing. */
    reportFailure: (_, _params: Failure) => providedAtStart(),
    /** Tells the request that the client no longer wants this branch. */
    reportGivenUp: providedAtStart,
    /**
     * Passes on the client's ACK, with which the session is established, and puts its start on record. Not earlier:
     * only now is it known which part of the call it takes over from (M7, M12, M20).
     */
    begin: providedAtStart,
    /** Passes the client's ACK on where the clock runs already (M7). */
    relayAck: providedAtStart,
    /** ACKs an answer that nobody wants any more, so that the BYE can follow (RFC 3261 §13.2.2.4). */
    sendAck: providedAtStart,
    /** Puts the start of the session on record, where the clock runs from the answer (M12). */
    recordStart: providedAtStart,
    /** Passes the BYE on to the other end (M11). */
    relayBye: providedAtStart,
    /** Sends a BYE of the relay's own, with Reason, to each end in `leaving`. */
    sendByes: providedAtStart,
    /**
     * Answers a BYE for which there is nothing else to do: it crossed another, or there is no dialog to end. Charges in
     * it are taken (M16).
     */
    answerBye: providedAtStart,
    /** Takes the charges out of the app server's answer to BYE (M16). */
    collectCharges: providedAtStart,
    /** Puts the end of the session, and what it charged at the end, on record (M12, M13). */
    recordEnd: providedAtStart,
    /** Passes the 200 to BYE on to the end that hung up, once the end is on record (M11). */
    relayByeAnswer: providedAtStart,
    /** Passes a re-INVITE or UPDATE on to the other end. */
    relayChange: providedAtStart,
    /** Passes an UPDATE in the early dialog on to the other end (RFC 3311). */
    relayEarlyUpdate: providedAtStart,
    /** Passes the client's PRACK on; 481 where it acknowledges nothing (RFC 3262 §3). */
    relayPrack: providedAtStart,
    /** Answers a request that only refreshes the session with one end (RFC 4028 §9). */
    answerRefresh: providedAtStart,
    /** Refreshes the session with one end, where that is the relay's to do (RFC 4028 §10). */
    sendRefresh: providedAtStart,
    /** Asks for another service at an app server that offers it, while the present service goes on (M20-M22). */
    askService: providedAtStart,
    /** Refuses a change that comes while another is under way: 491 or 500 (RFC 3261 §14.2, RFC 3311 §5.2). */
    refuseChange: providedAtStart,
    /** Passes any other request inside the session on to the other end. */
    relayMessage: providedAtStart,
    /** Puts an app server's charge on record and answers it (M14). */
    recordCharge: providedAtStart,
    /** Begins a move to a second app server (M23). */
    startTransfer: providedAtStart,
    /** Answers a request that comes too early or too late. */
    refuseMessage: providedAtStart,
    /** Forgets the session. */
    close: providedAtStart,

    startClock: assign({ startedAt: ({ event }) => ("at" in event ? event.at : null) }),
    stopClock: assign({ endedAt: ({ context, event }) => context.endedAt ?? ("at" in event ? event.at : null) }),
    /** No answer to the BYE was passed on: the session ended when the BYE was sent. */
    stopClockAtBye: assign({ endedAt: ({ context }) => context.endedAt ?? context.byeAt }),
    noteBye: assign(({ event }) =>
      event.type === "bye" ? { byeAt: event.at, endedBy: event.from, leaving: [otherSide(event.from)] } : {},
    ),
    noteLoss: assign(({ event }) =>
      event.type === "lost"
        ? { byeAt: event.at, endedBy: { code: `${event.side}-gone`, detail: event.detail }, leaving: BOTH }
        : {},
    ),
    noteSilence: assign(({ event }) =>
      event.type === "client.silent" ? { byeAt: event.at, endedBy: { code: "no-ack" }, leaving: BOTH } : {},
    ),
    /** The client never got the session, so it costs nothing. */
    noteRefusal: assign({
      startedAt: null,
      endedBy: { code: "not-taken" } as const,
      leaving: ({ event }) => [event.type === "client.refused" ? (event.invited ?? "server") : "server"] as const,
    }),
    noteEnd: assign(({ event }) =>
      event.type === "end" ? { byeAt: event.at, endedBy: event.ending, leaving: BOTH } : {},
    ),
    noteCredit: assign({ creditUntil: ({ event }) => (event.type === "credit.held" ? event.until : null) }),
    noteExhausted: assign(({ event }) =>
      event.type === "credit.exhausted" ? { byeAt: event.at, endedBy: { code: event.code }, leaving: BOTH } : {},
    ),
    /** The next part of the call has taken over the client, and the app server too where that stays the same. */
    noteReplaced: assign(({ event }) =>
      event.type === "change.taken"
        ? {
            byeAt: event.at,
            endedAt: event.at,
            endedBy: "change",
            leaving: event.keepsServer ? [] : (["server"] as const),
          }
        : {},
    ),
    noteUnwanted: assign({
      endedBy: { code: "too-late" } as const,
      leaving: ({ event }) => [event.type === "server.answer" ? (event.invited ?? "server") : "server"] as const,
    }),
    noteGone: assign(({ context, event }) =>
      event.type === "bye.answered" || event.type === "bye.failed"
        ? { leaving: context.leaving.filter((side) => side !== event.by) }
        : {},
    ),
  },
  guards: {
    isFromClient: ({ event }) => event.type === "bye" && event.from === "client",
    clientWaits: ({ context }) => context.endedBy === "client",
    keepsServer: ({ event }) => event.type === "change.taken" && event.keepsServer,
    clockStartsAtAnswer: ({ context }) => context.clock === "answer",
    isLastToLeave: ({ context, event }) =>
      (event.type === "bye.answered" || event.type === "bye.failed") &&
      context.leaving.every((side) => side === event.by),
  },
}).createMachine({
  id: "session",
  context: ({ input }) => ({
    version: 1,
    id: input.id,
    clock: input.clock,
    startedAt: null,
    endedAt: null,
    endedBy: null,
    byeAt: null,
    leaving: NOBODY,
    creditUntil: null,
  }),
  initial: "inviting",
  on: {
    // For every state that does not say otherwise: a request that comes at the wrong time still gets an answer.
    bye: { actions: "answerBye" },
    change: { actions: "refuseChange" },
    update: { actions: "refuseChange" },
    "service.change": { actions: "refuseChange" },
    refresh: { actions: "refuseChange" },
    prack: { actions: "refuseMessage" },
    message: { actions: "refuseMessage" },
    charge: { actions: "refuseMessage" },
    refer: { actions: "refuseMessage" },
  },
  states: {
    /** The app server was asked and has not decided. */
    inviting: {
      on: {
        "server.answer": [
          { guard: "clockStartsAtAnswer", target: "answered", actions: ["startClock", "recordStart", "relayAnswer"] },
          { target: "answered", actions: "relayAnswer" },
        ],
        "server.failure": {
          target: "refused",
          actions: { type: "reportFailure", params: ({ event }) => event.failure },
        },
        "server.silent": {
          target: "cancelling",
          actions: { type: "reportFailure", params: ({ event }) => event.failure },
        },
        // A reliable provisional answer was never acknowledged (RFC 3262 §3).
        "client.silent": {
          target: "cancelling",
          actions: { type: "reportFailure", params: { status: 504, reason: "No PRACK" } },
        },
        prack: { actions: "relayPrack" },
        cancel: "cancelling",
        // A BYE in the client's early dialog gives this branch up; an app server must not send one (RFC 3261 §15).
        bye: [
          { guard: "isFromClient", target: "cancelling", actions: ["answerBye", "reportGivenUp"] },
          { actions: "refuseMessage" },
        ],
      },
      initial: "proceeding",
      states: {
        proceeding: {
          entry: "sendInvite",
          on: {
            "server.progress": { actions: "relayProgress" },
            withdraw: "withdrawing",
          },
          initial: "steady",
          states: {
            steady: { on: { update: { target: "changing", actions: "relayEarlyUpdate" } } },
            /** An UPDATE is under way in the early dialog; another one is refused until it is done (RFC 3311 §5.2). */
            changing: { on: { "change.done": "steady" } },
          },
        },
        /**
         * The INVITE was cancelled because another app server answered 6xx. A 2xx that crosses the CANCEL still counts
         * (RFC 3261 §16.7, step 5).
         */
        withdrawing: { entry: "sendCancel" },
      },
    },
    /** Nobody waits for the app server's answer any more, but a 2xx may be on its way (RFC 3261 §9.1). */
    cancelling: {
      entry: ["sendCancel", "dropProgress"],
      on: {
        "server.answer": { target: "leaving", actions: ["sendAck", "noteUnwanted"] },
        "server.failure": "refused",
      },
    },
    /** The 2xx was passed on; the client's ACK is awaited. */
    answered: {
      on: {
        "client.ack": [
          { guard: "clockStartsAtAnswer", target: "established", actions: "relayAck" },
          { target: "established", actions: ["startClock", "begin"] },
        ],
        prack: { actions: "relayPrack" },
        refresh: { actions: "answerRefresh" },
        charge: [{ guard: "clockStartsAtAnswer", actions: "recordCharge" }, { actions: "refuseMessage" }],
        // The ACK is lost: the relay sends BYE to both ends (RFC 3261 §13.3.1.4). A clock that starts with the ACK
        // never ran, and the time costs nothing.
        "client.silent": { target: "leaving", actions: ["sendAck", "noteSilence"] },
        // The relay had invited the client to a session that a REFER asked for (M23), and the client said no.
        "client.refused": { target: "leaving", actions: ["sendAck", "noteRefusal"] },
        bye: { target: "terminating", actions: ["sendAck", "noteBye"] },
        lost: { target: "leaving", actions: ["sendAck", "noteLoss"] },
        end: { target: "leaving", actions: ["sendAck", "noteEnd"] },
        // Only for a prepaid session whose clock runs already.
        "credit.held": { actions: "noteCredit" },
        "credit.exhausted": { target: "leaving", actions: ["sendAck", "noteExhausted"] },
      },
    },
    /** Client and app server are connected; the clock runs (M7, M12). */
    established: {
      on: {
        message: { actions: "relayMessage" },
        charge: { actions: "recordCharge" },
        prack: { actions: "relayPrack" },
        // It has no description: it may cross any change (RFC 3311 §5.2).
        refresh: { actions: "answerRefresh" },
        refer: { actions: "startTransfer" },
        bye: { target: "terminating", actions: "noteBye" },
        lost: { target: "leaving", actions: "noteLoss" },
        end: { target: "leaving", actions: "noteEnd" },
        // Only for a prepaid session: the balance was asked again, and says how long the money lasts.
        "credit.held": { actions: "noteCredit" },
        "credit.exhausted": { target: "leaving", actions: "noteExhausted" },
      },
      initial: "steady",
      states: {
        steady: {
          on: {
            change: { target: "changing", actions: "relayChange" },
            "service.change": { target: "asking", actions: "askService" },
            "refresh.due": { target: "refreshing", actions: "sendRefresh" },
          },
        },
        /** A re-INVITE or UPDATE is under way; another one is refused until it is done (RFC 3261 §14.2). */
        changing: { on: { "change.done": "steady" } },
        /** The relay refreshes the session with one end (RFC 4028 §10); a change is refused until that is done. */
        refreshing: { on: { "change.done": "steady" } },
        /**
         * Another service is asked for while this one goes on. If an app server accepts, this session gives way to the
         * new part. If none does, nothing changes.
         */
        asking: {
          on: {
            "change.done": "steady",
            // It is not decided yet which session the client would move from.
            refer: { actions: "refuseChange" },
            "change.taken": [
              { guard: "keepsServer", target: "#session.terminated", actions: "noteReplaced" },
              { target: "#session.leaving", actions: "noteReplaced" },
            ],
          },
        },
      },
    },
    /** One end hung up. Its BYE was passed on, and the other end's answer is awaited for a while (M11). */
    terminating: {
      entry: "relayBye",
      on: {
        charge: { actions: "recordCharge" },
        bye: [
          // The client hears its 200 now, and pays nothing after that (M12).
          { guard: "isFromClient", actions: ["stopClock", "answerBye"] },
          { actions: "answerBye" },
        ],
        "bye.late": [
          { guard: "clientWaits", target: "terminated", actions: "stopClock" },
          { target: "terminated", actions: "stopClockAtBye" },
        ],
        "bye.answered": { target: "terminated", actions: ["stopClock", "collectCharges"] },
        "bye.failed": { target: "terminated", actions: "stopClockAtBye" },
      },
    },
    /**
     * The relay ends the session by itself. For a while, it waits until each end in `leaving` has answered or was given
     * up.
     */
    leaving: {
      entry: "sendByes",
      on: {
        charge: { actions: "recordCharge" },
        "bye.late": { target: "terminated", actions: "stopClockAtBye" },
        "bye.answered": [
          { guard: "isLastToLeave", target: "terminated", actions: ["stopClockAtBye", "collectCharges"] },
          { actions: ["noteGone", "collectCharges"] },
        ],
        "bye.failed": [
          { guard: "isLastToLeave", target: "terminated", actions: "stopClockAtBye" },
          { actions: "noteGone" },
        ],
      },
    },
    /** The app server refused, or its answer is not wanted any more: there is no session. */
    refused: { type: "final", entry: "close" },
    terminated: { type: "final", entry: ["recordEnd", "relayByeAnswer", "close"] },
  },
});
