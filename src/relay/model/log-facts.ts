import { shown } from "../../support/peer-log.ts";
import type { ServerTransaction } from "../../transaction/types.ts";
import type { SessionPort } from "./core.ts";

/** By what each line of the log about a call is found, from either of its ends. */
export interface LogFacts {
  /** The correlation id of all sessions of the call. */
  readonly call: string;
  /** Of the dialog with the client. The app server's is made of the session's id. */
  readonly callId: string;
  readonly session?: string;
  readonly user: string;
}

const MAX_CALL_ID = 200;

export function ofSession({ id, facts, user, client, request }: SessionPort): LogFacts {
  const callId = client?.dialog.callId ?? request?.transaction.request.callId ?? "";
  return { call: facts.call, callId: shown(callId, MAX_CALL_ID), session: id, user };
}

/** Of a request that has come to no session yet. */
export function ofRequest(of: { call: string; user: string; transaction: ServerTransaction }): LogFacts {
  return { call: of.call, callId: shown(of.transaction.request.callId, MAX_CALL_ID), user: shown(of.user) };
}
