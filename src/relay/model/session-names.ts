const CALL_ID_END = "@tollgate";

/** Call-ID of the relay's dialog with the app server. */
export const callIdOf = (session: string): string => session + CALL_ID_END;

/** The session that one of the relay's Call-IDs names. */
export function sessionOf(callId: string): string | undefined {
  return callId.endsWith(CALL_ID_END) ? callId.slice(0, -CALL_ID_END.length) : undefined;
}
