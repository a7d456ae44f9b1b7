/**
 * Reply subjects as client libraries make them. They begin with the default prefix, to which a user may add:
 * `_INBOX_shop.AbC.1`.
 */
const INBOX = /^_INBOX(_[A-Za-z0-9_-]{1,64})?(\.[A-Za-z0-9_-]{1,128}){1,4}$/;

/**
 * Whether a request may be answered on that subject. The asker chooses it, but the answer is published with the relay's
 * own rights. On the subject of an event it would be an event; on one of JetStream's API it would be a command, e.g. to
 * delete the stream.
 */
export const isInbox = (reply: string | undefined): reply is string => reply !== undefined && INBOX.test(reply);
