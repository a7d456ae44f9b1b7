import { parseContentType } from "../sip/headers.ts";
import type { SipMessage } from "../sip/message.ts";
import { bodyParts } from "../sip/parts.ts";

/** A session description (RFC 8866) in a message: as its body, or as a part of a body of several parts. */
export interface Sdp {
  readonly bytes: Buffer;
  /** The message's body with another description in the place of this one. */
  with(bytes: Buffer): Buffer;
}

/** The session description of a message; undefined: it has none, or one that only its receiver can read. */
export function sdpOf({ headers, body }: SipMessage): Sdp | undefined {
  if (body.length === 0) return undefined;
  const written = headers.get("content-type");
  if (written === undefined) return undefined;
  const encoding = headers.get("content-encoding");
  if (encoding !== undefined && encoding.toLowerCase() !== "identity") return undefined;
  const type = parseContentType(written);
  if (!type.ok) return undefined;
  if (type.value.type === SDP) return { bytes: body, with: (bytes) => bytes };
  if (!type.value.type.startsWith("multipart/")) return undefined;
  const parts = bodyParts(written, body);
  const part = parts.ok ? parts.value.find(({ contentType }) => contentType.type === SDP) : undefined;
  if (!part) return undefined;
  const from = part.body.byteOffset - body.byteOffset; // a view of the same bytes
  const end = from + part.body.length;
  return {
    bytes: part.body,
    with: (bytes) => Buffer.concat([body.subarray(0, from), bytes, body.subarray(end)]),
  };
}

const SDP = "application/sdp";

/** How an end sends media, as its description says. */
export interface Manner {
  /** The transport of its first audio or video: `RTP/AVP`, `UDP/TLS/RTP/SAVPF`. */
  readonly protocol: string;
  /** It has candidates (RFC 8839). */
  readonly ice: boolean;
  /** RTP and RTCP on one port (RFC 5761). */
  readonly mux: boolean;
}

export const PLAIN: Manner = { protocol: "RTP/AVP", ice: false, mux: false };
/** What browsers want (RFC 8834, RFC 8827). */
export const WEB: Manner = { protocol: "UDP/TLS/RTP/SAVPF", ice: true, mux: true };

/** Undefined: there is neither audio nor video in it, so that no media relay is of use. */
export function mannerOf(bytes: Buffer): Manner | undefined {
  const text = bytes.toString("latin1");
  const media = /^m=(?:audio|video) \d{1,5}(?:\/\d+)? (\S{1,40})/m.exec(text);
  if (!media) return undefined;
  return { protocol: media[1]!, ice: /^a=ice-ufrag:/m.test(text), mux: /^a=rtcp-mux\r?$/m.test(text) };
}
