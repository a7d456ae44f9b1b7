import type { ClientTransactionUser } from "../../transaction/types.ts";

/** RFC 3261 §12.2.1.2: these two say that the peer knows nothing of the dialog any more. */
export const meansGone = (status: number): boolean => status === 481 || status === 408;

/** For requests whose answer changes nothing. */
export const IGNORED: ClientTransactionUser = { final() {}, timeout() {}, transportError() {} };
