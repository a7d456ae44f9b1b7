import type { Body, IncomingRequestMessage, IncomingResponseMessage } from "sip.js/lib/core/index.js";

/** Media type of the body that asks for a service, `<service name="wine"/>`, unless the client names another. */
export const SERVICE_TYPE = "application/vnd.tollgate.service+xml";
/**
 * Media type of the body that says where a service is, `{"url": "https://..."}`, unless the app server names another.
 */
export const ACCESS_TYPE = "application/vnd.tollgate.access+json";

/** A body with its media type. It stands here where other SIP calls have a session description (SDP). */
export interface Description {
  /** Value of Content-Type. */
  readonly contentType: string;
  /** As text. */
  readonly content: string;
}

/** How the service is reached: the body of the answer to INVITE. */
export interface Access extends Description {
  /** The URL in an access body `{ "url": "..." }`. */
  readonly url?: string;
}

/**
 * Makes a description the body of an INVITE or of its answer. The disposition `session` says that it describes the
 * session (RFC 3261 §20.11).
 */
export function toBody(description: Description): Body {
  if (/[\r\n\0]/.test(description.contentType)) throw new TypeError("contentType: is not of one line");
  return { contentDisposition: "session", contentType: description.contentType, content: description.content };
}

export const SESSION_DISPOSITION = "Content-Disposition: session";

/** The body of a message as it came; undefined where there is none. */
export function descriptionOf(message: IncomingRequestMessage | IncomingResponseMessage): Description | undefined {
  if (!message.body) return undefined;
  return { contentType: message.getHeader("content-type") ?? "application/octet-stream", content: message.body };
}

/** What a success may carry: the URL under which the service is reached, or a body of your own with its media type. */
export type Acceptance = { readonly url?: string } | { readonly body: string; readonly contentType: string };

/**
 * The body of a success. Without a URL it is an empty access body, because SIP.js wants a body in every 2xx that it
 * sends.
 */
export function acceptanceBody(acceptance: Acceptance): Body {
  if ("body" in acceptance) return toBody({ contentType: acceptance.contentType, content: acceptance.body });
  const { url } = acceptance;
  return toBody(url === undefined ? { contentType: ACCESS_TYPE, content: "{}" } : accessBody(url));
}

export function accessBody(url: string): Description {
  return { contentType: ACCESS_TYPE, content: JSON.stringify({ url }) };
}

/** Reads the answer's body. A body that is not an access body, or is broken, is returned without a URL. */
export function accessOf(description: Description | undefined): Access | undefined {
  if (description === undefined) return undefined;
  if (mediaType(description.contentType) !== ACCESS_TYPE) return description;
  try {
    const url = (JSON.parse(description.content) as { url?: unknown } | null)?.url;
    return typeof url === "string" ? { ...description, url } : description;
  } catch {
    return description;
  }
}

const mediaType = (contentType: string) => contentType.split(";", 1)[0]!.trim().toLowerCase();
