import type { Body, IncomingRequestMessage, IncomingResponseMessage } from "sip.js/lib/core/index.js";
import { ATTRIBUTES_HEADER, CLIENT_HEADER } from "../charging/charges/body.ts";
import { parseParams } from "../sip/params.ts";

/** Media type of the body that asks for a service, `<service name="wine"/>`, where the client names no other. */
export const SERVICE_TYPE = "application/vnd.tollgate.service+xml";
/**
 * Media type of the body that says where a service is, `{"url": "https://..."}`, where the app server names no other.
 */
export const ACCESS_TYPE = "application/vnd.tollgate.access+json";

/** A body with its media type: what takes the place of a session description (SDP) here. */
export interface Description {
  /** Value of Content-Type. */
  readonly contentType: string;
  /** As text. */
  readonly content: string;
}

/** How the service is reached: the body of the answer to INVITE. */
export interface Access extends Description {
  /** From an access body `{ "url": "..." }`. */
  readonly url?: string;
}

/**
 * As the body of an INVITE or of its answer. The disposition `session` makes it part of setting up the session (RFC
 * 3261 §20.11).
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

/** What a rule of the relay has said of the request, and of the client. */
export function attributesOf(message: IncomingRequestMessage) {
  const named = (header: string): Readonly<Record<string, string>> => {
    const params = parseParams(message.getHeader(header) ?? "");
    return params.ok ? Object.fromEntries(params.value) : {};
  };
  return { attributes: named(ATTRIBUTES_HEADER), client: named(CLIENT_HEADER) };
}

/** What a success may carry: the URL under which the service is reached, or a body of your own with its media type. */
export type Acceptance = { readonly url?: string } | { readonly body: string; readonly contentType: string };

/** As a body. Without a URL it is an empty access body: SIP.js wants a body in every 2xx of its own. */
export function acceptanceBody(acceptance: Acceptance): Body {
  if ("body" in acceptance) return toBody({ contentType: acceptance.contentType, content: acceptance.body });
  const { url } = acceptance;
  return toBody(url === undefined ? { contentType: ACCESS_TYPE, content: "{}" } : accessBody(url));
}

export function accessBody(url: string): Description {
  return { contentType: ACCESS_TYPE, content: JSON.stringify({ url }) };
}

/** Reads the answer's body; one that is no access body, or a broken one, is handed over without a URL. */
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
