/** The statecharts of Tollgate, for XState. Each runs alone: its actions do nothing until somebody provides them. */
export { type BillingContext, type BillingEvent, type BillingInput, billingMachine } from "./billing.ts";
export type { Failure, Fork, RequestEvent, SessionEvent, Side, TransferEvent } from "./events.ts";
export { type RequestContext, type RequestInput, requestMachine } from "./request.ts";
export { type SessionContext, type SessionInput, sessionMachine } from "./session.ts";
export { type TransferContext, type TransferInput, transferMachine } from "./transfer.ts";
