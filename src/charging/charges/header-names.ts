/**
 * The header field with the relay's name for a session. The relay sends it to an app server, and the app server to the
 * relay (M15).
 */
export const SESSION_HEADER = "Tollgate-Session";

/**
 * The header field with which the relay tells an app server which service an INVITE asks for, and either end which
 * service a re-INVITE or UPDATE asks for (M3, M20, M22).
 */
export const SERVICE_HEADER = "Tollgate-Service";

/**
 * The header fields with which the relay tells an app server what a rule says of the request and of the client (M3):
 * `name=value;name="a value"`.
 */
export const ATTRIBUTES_HEADER = "Tollgate-Attributes";
export const CLIENT_HEADER = "Tollgate-Client";
