import type { Identified } from "../src/directory/types.ts";
import type { SipRequest, SipResponse } from "../src/sip/message.ts";
import type { ServerTransaction } from "../src/transaction/types.ts";

/**
 * The events of the charts: what the legs of a call say to each other (decision 4). A leg turns SIP messages into these
 * events, and these events into SIP messages. The charts know nothing else of SIP.
 */

/** Which end of a session: the client, or the app server. */
export type Side = "client" | "server";

/** The other end. */
export const otherSide = (side: Side): Side => (side === "client" ? "server" : "client");

/*
 * `payload` is a request (with its transaction) or an answer that another leg will pass on. The chart hands it through:
 * it does not read it, and never keeps it in a context. So the charts import types of SIP, and no code.
 */
type Request = ServerTransaction;
type Answer = SipResponse;

/** Why something failed, as a SIP answer would say it (RFC 3261 §21). Plain JSON: it may stand in a context. */
export interface Failure {
  readonly status: number;
  readonly reason?: string;
  readonly headers?: readonly (readonly [name: string, value: string])[];
  /** The branch whose app server gave this answer. Its leg still holds the answer, which the client gets. */
  readonly branch?: string;
  /** It is the relay itself that cannot serve, and no app server: a 503 stays a 503. */
  readonly own?: true;
}

/** What happens to a client's request (the chart `request`). */
export type RequestEvent =
  | { readonly type: "user.accepted"; readonly user: string }
  | { readonly type: "user.refused"; readonly failure: Failure }
  | { readonly type: "service.identified"; readonly service: string; readonly fork: Fork }
  | { readonly type: "service.refused"; readonly failure: Failure }
  | { readonly type: "servers.found"; readonly servers: readonly string[]; readonly prepaid?: boolean }
  | { readonly type: "servers.none"; readonly failure: Failure }
  | { readonly type: "credit.held"; readonly servers: readonly string[] }
  | { readonly type: "credit.refused"; readonly failure: Failure }
  | { readonly type: "branch.answered"; readonly branch: string }
  | { readonly type: "branch.failed"; readonly branch: string; readonly failure: Failure }
  | { readonly type: "branch.released"; readonly branch: string }
  | { readonly type: "wait.over" }
  | { readonly type: "client.cancel" }
  | { readonly type: "client.lost" };

/**
 * How several app servers are asked. `sequential`: one after the other. `first`: all at once, and the first success
 * wins (M8). `all`: all at once, and every success counts (M25).
 */
export type Fork = "sequential" | "first" | "all";

/**
 * Why the relay ends a session by itself, or puts its end on record. src/relay/model/endings.ts has a text for each
 * code.
 */
export type EndingCode =
  | "no-ack"
  | "no-ack-to-change"
  | "not-taken"
  | "too-late"
  | "client-gone"
  | "server-gone"
  | "max-duration"
  | "credit-exhausted"
  | "credit-unknown"
  | "not-recorded"
  | "part-over"
  | "service-gone"
  | "no-media"
  | "moved"
  | "blocked"
  | "operator"
  | "stops"
  | "stopped"
  | "killed"
  | "fault";

/** `what` completes the code's text, and both ends hear it. `detail` is for the record alone. */
export interface Ending {
  readonly code: EndingCode;
  readonly what?: string;
  readonly detail?: string;
}

/** What happens to one session (the chart `session`). `at` is milliseconds since 1970. */
export type SessionEvent =
  | { readonly type: "server.progress"; readonly payload: Answer }
  /** `invited`: the end that was asked; default the app server. */
  | {
      readonly type: "server.answer";
      readonly at: number;
      readonly payload: Answer | undefined;
      readonly invited?: Side;
    }
  | { readonly type: "server.failure"; readonly failure: Failure }
  | { readonly type: "server.silent"; readonly failure: Failure }
  | { readonly type: "cancel" }
  | { readonly type: "withdraw" }
  | { readonly type: "client.ack"; readonly at: number; readonly payload: SipRequest | undefined }
  | { readonly type: "client.silent"; readonly at: number }
  | { readonly type: "client.refused"; readonly at: number; readonly invited?: Side }
  | { readonly type: "bye"; readonly from: Side; readonly at: number; readonly payload: Request }
  | { readonly type: "bye.answered"; readonly by: Side; readonly at: number; readonly payload: Answer }
  | { readonly type: "bye.failed"; readonly by: Side; readonly at: number }
  | { readonly type: "bye.late"; readonly at: number }
  | { readonly type: "change"; readonly from: Side; readonly payload: Request }
  | { readonly type: "change.done" }
  | { readonly type: "service.change"; readonly from: Side; readonly payload: Request; readonly wanted: Identified }
  | { readonly type: "change.taken"; readonly at: number; readonly keepsServer: boolean }
  | { readonly type: "update"; readonly from: Side; readonly payload: Request }
  | { readonly type: "refresh"; readonly from: Side; readonly payload: Request }
  | { readonly type: "refresh.due"; readonly side: Side }
  | { readonly type: "prack"; readonly payload: Request }
  | { readonly type: "message"; readonly from: Side; readonly payload: Request }
  | { readonly type: "charge"; readonly payload: Request }
  | { readonly type: "refer"; readonly from: Side; readonly payload: Request }
  | { readonly type: "lost"; readonly side: Side; readonly at: number; readonly detail: string }
  | { readonly type: "credit.held"; readonly until: number | null }
  | { readonly type: "credit.exhausted"; readonly at: number; readonly code: "credit-exhausted" | "credit-unknown" }
  | { readonly type: "end"; readonly at: number; readonly ending: Ending };

/** The session's events of one type, or of several. */
export type SessionEventOf<T extends SessionEvent["type"]> = Extract<SessionEvent, { type: T }>;

/**
 * What happens to a move that a REFER asks for (the chart `transfer`). `until` is milliseconds since 1970; null:
 * nothing is reported.
 */
export type TransferEvent =
  | { readonly type: "refer.allowed"; readonly until: number | null }
  | { readonly type: "refer.refused"; readonly failure: Failure }
  | { readonly type: "target.progress"; readonly payload: Answer }
  | { readonly type: "target.answer"; readonly payload: Answer }
  | { readonly type: "target.failure"; readonly failure: Failure }
  | { readonly type: "target.lost" }
  | { readonly type: "client.accepted"; readonly payload: Answer }
  | { readonly type: "client.refused"; readonly failure: Failure }
  | { readonly type: "client.left" }
  | { readonly type: "subscribe"; readonly until: number; readonly payload: Request }
  | { readonly type: "reports.over" };
