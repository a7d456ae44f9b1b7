/** For clients and app servers: SIP over TCP or TLS on SIP.js, with a service description instead of SDP. */
export type { AppSession, ChargeInput, EndCallback, ReferOptions, ServiceHandler, ServiceRequest } from "./app-api.ts";
export {
  type AppServer,
  type AppServerOptions,
  serve,
} from "./app-server.ts";
export type { ChangeOptions, ServiceChange } from "./changes.ts";
export { type ChargeClient, type ChargeClientOptions, ChargeError, createChargeClient } from "./charge-client.ts";
export type {
  Client,
  ClientOptions,
  ClientSession,
  MoveOptions,
  RequestAllOptions,
  ServerChange,
  ServiceRequestOptions,
} from "./client-api.ts";
export type { Ending } from "./dialog.ts";
export { createClient } from "./node-client.ts";
export { createProofCheck, type ProofCheck, type ProofOptions, type ProofResult, type ProvenRequest } from "./proof.ts";
export { ACCESS_TYPE, type Acceptance, type Description, SERVICE_TYPE } from "./session-description.ts";
export { SipError } from "./sip-error.ts";
export type { TlsTrust } from "./tcp-connection.ts";
export type { ServerTls } from "./tcp-server-transport.ts";
