import type { EventObject } from "xstate";
import type { BillingEvent } from "../../machines/billing.ts";
import type { RequestEvent, SessionEvent, TransferEvent } from "../../machines/events.ts";
import { chargeMade, type SessionFacts, sessionEnded, sessionStarted } from "../../src/charging/events/events.ts";

/** What legs hand through the charts: these do not look at it. */
export const UNREAD = null as never;

const request: RequestEvent[] = [
  { type: "user.accepted", user: "alice" },
  { type: "user.refused", failure: { status: 401 } },
  { type: "service.identified", service: "wine", fork: "sequential" },
  { type: "service.identified", service: "wine", fork: "first" },
  { type: "service.identified", service: "wine", fork: "all" },
  { type: "service.refused", failure: { status: 404 } },
  { type: "servers.found", servers: ["a", "b"] },
  { type: "servers.found", servers: ["a", "b"], prepaid: true },
  { type: "servers.none", failure: { status: 404 } },
  { type: "credit.held", servers: ["b"] },
  { type: "credit.refused", failure: { status: 402 } },
  { type: "branch.answered", branch: "a" },
  { type: "branch.failed", branch: "a", failure: { status: 503 } },
  { type: "branch.failed", branch: "b", failure: { status: 603 } },
  { type: "branch.released", branch: "a" },
  { type: "wait.over" },
  { type: "client.cancel" },
  { type: "client.lost" },
];

const session: SessionEvent[] = [
  { type: "server.progress", payload: UNREAD },
  { type: "server.answer", at: 1, payload: UNREAD },
  { type: "server.failure", failure: { status: 486 } },
  { type: "server.silent", failure: { status: 408 } },
  { type: "cancel" },
  { type: "withdraw" },
  { type: "client.ack", at: 2, payload: UNREAD },
  { type: "client.silent", at: 3 },
  { type: "client.refused", at: 3 },
  { type: "bye", from: "client", at: 4, payload: UNREAD },
  { type: "bye", from: "server", at: 4, payload: UNREAD },
  { type: "bye.answered", by: "client", at: 5, payload: UNREAD },
  { type: "bye.answered", by: "server", at: 5, payload: UNREAD },
  { type: "bye.failed", by: "client", at: 6 },
  { type: "bye.failed", by: "server", at: 6 },
  { type: "bye.late", at: 6 },
  { type: "change", from: "client", payload: UNREAD },
  { type: "change.done" },
  { type: "service.change", from: "client", payload: UNREAD, wanted: UNREAD },
  { type: "change.taken", at: 5, keepsServer: true },
  { type: "change.taken", at: 5, keepsServer: false },
  { type: "update", from: "client", payload: UNREAD },
  { type: "refresh", from: "client", payload: UNREAD },
  { type: "refresh.due", side: "client" },
  { type: "prack", payload: UNREAD },
  { type: "message", from: "client", payload: UNREAD },
  { type: "charge", payload: UNREAD },
  { type: "refer", from: "client", payload: UNREAD },
  { type: "lost", side: "client", at: 7, detail: "gone" },
  { type: "end", at: 8, ending: { code: "stops" } },
  { type: "credit.held", until: 9 },
  { type: "credit.exhausted", at: 9, code: "credit-exhausted" },
];

const transfer: TransferEvent[] = [
  { type: "refer.allowed", until: 180_000 },
  { type: "refer.refused", failure: { status: 403 } },
  { type: "target.progress", payload: UNREAD },
  { type: "target.answer", payload: UNREAD },
  { type: "target.failure", failure: { status: 486 } },
  { type: "target.lost" },
  { type: "client.accepted", payload: UNREAD },
  { type: "client.refused", failure: { status: 486 } },
  { type: "client.left" },
  { type: "subscribe", until: 60_000, payload: UNREAD },
  { type: "reports.over" },
];

const facts: SessionFacts = { id: "s", user: "alice", service: "wine", appServer: "a", call: "r" };

const billing: BillingEvent[] = [
  sessionStarted(facts, 1_000),
  chargeMade(facts, 2_000, { id: "c", item: "Pils", unitPrice: "3", quantity: "1", currency: "EUR" }, "info"),
  sessionEnded(facts, 1_000, 9_000, "client"),
  { type: "window.closed" },
];

/** One of each event of every chart, enough to get everywhere. */
export const chartEvents: Readonly<Record<string, EventObject[]>> = { request, session, transfer, billing };

/** The inputs with which a chart is walked. */
export const chartInputs: Readonly<Record<string, unknown[]>> = {
  request: [{ id: "r" }],
  session: [
    { id: "s", clock: "ack" },
    { id: "s", clock: "answer" },
  ],
  transfer: [{ id: "t" }],
  billing: [
    { session: facts, windowMs: 0 },
    { session: facts, windowMs: 60_000 },
  ],
};
