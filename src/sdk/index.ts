/** For clients and app servers: SIP over TCP on SIP.js, with a service description in the place of SDP. */
export {
  type AppServer,
  type AppServerOptions,
  serve,
} from "./app-server.ts";
export type { AppSession, ChargeInput, EndCallback, ReferOptions } from "./app-session.ts";
export type { ChangeOptions, ServiceChange } from "./changes.ts";
export { type ChargeClient, type ChargeClientOptions, ChargeError, createChargeClient } from "./charge-client.ts";
export {
  type Client,
  type ClientOptions,
  createClient,
} from "./client.ts";
export type { ClientSession, MoveOptions, ServerChange } from "./client-session.ts";
export type { ServiceHandler, ServiceRequest } from "./decision.ts";
export type { Ending } from "./dialog.ts";
export type { RequestAllOptions, ServiceRequestOptions } from "./invite.ts";
export { createProofCheck, type ProofCheck, type ProofOptions, type ProofResult, type ProvenRequest } from "./proof.ts";
export { ACCESS_TYPE, type Acceptance, type Description, SERVICE_TYPE } from "./session-description.ts";
export { SipError } from "./sip-error.ts";
