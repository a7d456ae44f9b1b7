import { assign, setup } from "xstate";
import type { Failure, TransferEvent } from "./events.ts";
import { providedAtStart } from "./provided.ts";

export interface TransferInput {
  /** Says to whoever reads the context which move it is. The actions do not need it: they have the actor's owner. */
  readonly id: string;
}

export interface TransferContext {
  readonly version: 1;
  readonly id: string;
  /**
   * Until when the sender of the REFER gets reports of the move (RFC 6665 §4.2.1), in milliseconds since 1970; null: it
   * gets none.
   */
  readonly subscribedUntil: number | null;
}

/**
 * A move that a REFER asks for: the relay asks a second app server for the client, and then invites the client to a
 * session with it (E 6, C 6; M23, M24). An actor of the chart `request` searches and asks, as for an INVITE, and tells
 * this actor what came of it. Whatever goes wrong, the first session goes on as it was.
 */
export const transferMachine = setup({
  types: {
    context: {} as TransferContext,
    events: {} as TransferEvent,
    input: {} as TransferInput,
  },
  actions: {
    /** Reads the REFER and checks whether it is allowed; answers `refer.allowed` or `refer.refused`. */
    check: providedAtStart,
    /** Answers the REFER with the failure. */
    refuseRefer: (_, _params: Failure) => providedAtStart(),
    /** Answers the REFER with 200 and reports 100 (RFC 3515 §2.4.4, RFC 7647 §5). */
    acceptRefer: providedAtStart,
    /** Begins a request for the second service (M23). */
    askServer: providedAtStart,
    /** Gives that request up. */
    withdrawRequest: providedAtStart,
    /** Reports a provisional answer of the second app server. */
    reportProgress: providedAtStart,
    /** Sends the client an INVITE with what the second app server has answered (RFC 3725 §4). */
    inviteClient: providedAtStart,
    /** Cancels that INVITE. */
    cancelInvite: providedAtStart,
    /** Ends the dialog with the second app server, which has accepted but gets no client. */
    dropTarget: providedAtStart,
    /**
     * Hands the client's answer to the second session, which is then established; the first one ends unless it is kept.
     */
    connect: providedAtStart,
    /** Reports the success, with the second app server's answer (M23). */
    reportSuccess: providedAtStart,
    /** Reports why nothing came of it. */
    reportFailure: (_, _params: Failure) => providedAtStart(),
    /** Answers a SUBSCRIBE that prolongs or ends the reports, and reports how it stands (RFC 6665 §4.2.1). */
    answerSubscribe: providedAtStart,
    /** Reports no more. */
    endReports: providedAtStart,
    /** Forgets the move. */
    close: providedAtStart,

    noteSubscription: assign(({ event }) =>
      event.type === "refer.allowed" || event.type === "subscribe" ? { subscribedUntil: event.until } : {},
    ),
    dropSubscription: assign({ subscribedUntil: null }),
  },
}).createMachine({
  id: "transfer",
  context: ({ input }) => ({ version: 1, id: input.id, subscribedUntil: null }),
  initial: "checking",
  on: {
    subscribe: { actions: ["noteSubscription", "answerSubscribe"] },
    // The reports are over: their time has passed, or nobody takes them. The move goes on without them (RFC 3515
    // §2.4.4).
    "reports.over": { actions: ["dropSubscription", "endReports"] },
  },
  states: {
    checking: {
      entry: "check",
      on: {
        "refer.allowed": { target: "asking", actions: ["noteSubscription", "acceptRefer"] },
        "refer.refused": { target: "refused", actions: { type: "refuseRefer", params: ({ event }) => event.failure } },
      },
    },
    /** The second service is looked for, and its app servers are asked. */
    asking: {
      entry: "askServer",
      on: {
        "target.progress": { actions: "reportProgress" },
        "target.answer": "inviting",
        "target.failure": {
          target: "failed",
          actions: { type: "reportFailure", params: ({ event }) => event.failure },
        },
        // A client that hangs up before there is an answer wants no second session either.
        "client.left": {
          target: "failed",
          actions: ["withdrawRequest", { type: "reportFailure", params: { status: 487 } }],
        },
      },
    },
    /** The second app server has accepted. The client gets an INVITE for the new dialog with it. */
    inviting: {
      entry: "inviteClient",
      on: {
        "client.accepted": { target: "moved", actions: ["reportSuccess", "connect"] },
        "client.refused": {
          target: "failed",
          actions: ["dropTarget", { type: "reportFailure", params: ({ event }) => event.failure }],
        },
        "target.lost": {
          target: "failed",
          actions: ["cancelInvite", { type: "reportFailure", params: { status: 480 } }],
        },
      },
    },
    /** The second session is established. */
    moved: { type: "final", entry: "close" },
    /** The move has failed; the first session goes on. */
    failed: { type: "final", entry: "close" },
    refused: { type: "final", entry: "close" },
  },
});
