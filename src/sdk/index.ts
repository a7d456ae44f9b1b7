/** For clients and app servers: SIP over TCP on SIP.js, with a service description in the place of SDP. */
export {
  type AppServer,
  type AppServerOptions,
  type ServiceHandler,
  type ServiceRequest,
  serve,
} from "./app-server.ts";
export type { AppSession, ChargeInput, EndCallback, ReferOptions } from "./app-session.ts";
export { type ChargeClient, type ChargeClientOptions, ChargeError, createChargeClient } from "./charge-client.ts";
export {
  type Client,
  type ClientOptions,
  type ClientSession,
  createClient,
  type MoveOptions,
  type ServiceRequestOptions,
} from "./client.ts";
export type { Ending } from "./dialog.ts";
export { createProofCheck, type ProofCheck, type ProofOptions, type ProofResult, type ProvenRequest } from "./proof.ts";
export { ACCESS_TYPE, type Description, SERVICE_TYPE } from "./session-description.ts";
export { SipError } from "./sip-error.ts";
