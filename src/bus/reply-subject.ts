/**
 * As client libraries make them, with the prefix that they have by default, or one of their own behind it:
 * `_INBOX_shop.AbC.1`.
 */
const INBOX = /^_INBOX(_[A-Za-z0-9_-]{1,64})?(\.[A-Za-z0-9_-]{1,128}){1,4}$/;

/**
 * Whether a request may be answered on that subject. Whoever asks names it, and the answer is published with the
 * relay's own rights: on the subject of an event it would be an event, on one of JetStream's API a command, such as
 * to delete the stream.
 */
export const isInbox = (reply: string | undefined): reply is string => reply !== undefined && INBOX.test(reply);
