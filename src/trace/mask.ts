/*
 * Takes secrets out of a SIP message before anybody sees it in a ladder, a trace or a capture: credentials, passwords
 * in URIs, keys in URLs and bodies. In a body, what is hidden keeps its length, so that Content-Length stays true.
 */

/** A message as it may be shown. `bytes`: one message, as it came or went. */
export function masked(bytes: Buffer): string {
  const text = bytes.toString("latin1");
  const end = text.indexOf("\r\n\r\n");
  const head = end < 0 ? text : text.slice(0, end);
  const body = end < 0 ? "" : text.slice(end);
  return maskedHead(head) + maskedBody(body);
}

/** The start line or header fields, unfolded (RFC 3261 §7.3.1). */
export const maskedHead = (head: string): string =>
  inUrls(head.replace(/\r\n[ \t]+/g, " ").replace(SECRET_FIELDS, hideCredentials), () => HIDDEN);

const maskedBody = (body: string): string =>
  inUrls(body, stars)
    .replace(IN_JSON, (_, before: string, secret: string) => before + stars(secret))
    .replace(IN_SDP, (_, before: string, secret: string) => before + stars(secret));

const HIDDEN = "***";
const stars = (secret: string): string => "*".repeat(secret.length);

/** Header fields that prove who somebody is. */
const SECRET_FIELDS = /^(authorization|proxy-authorization|authentication-info|identity|cookie)([ \t]*:[ \t]*)(.*)$/gim;
/** Of a digest, what is no secret stays: who signs in, and where. */
const OPEN_PARAMS = /(?:^|[\s,])((?:username|realm|uri|algorithm|qop|nc)=(?:"[^"]*"|[^\s,]+))/gi;

function hideCredentials(_: string, name: string, colon: string, value: string): string {
  const [, scheme = ""] = /^([A-Za-z]+)[ \t]+/.exec(value) ?? [];
  if (scheme.toLowerCase() !== "digest") return `${name}${colon}${scheme === "" ? "" : `${scheme} `}${HIDDEN}`;
  const open = Array.from(value.matchAll(OPEN_PARAMS), ([, param]) => param);
  return `${name}${colon}${scheme} ${[...open, `response="${HIDDEN}"`].join(", ")}`;
}

/** A password in a SIP URI, or in the userinfo of a URL. */
const IN_SIP_URI = /(\bsips?:[^\s:@<>;?"]*:)([^@\s<>"]+)(?=@)/gi;
const IN_USERINFO = /(\b(?!sips?:)[a-z][a-z0-9+.-]{1,20}:\/\/)([^\s/@<>"']+)(?=@)/gi;
const NAMES = "[a-z_-]*(?:token|key|secret|password|passwd|pwd|passphrase|signature|jwt|ticket|auth|sid)";
/** A parameter of a URI, or an attribute of XML, whose name says that it is a secret. */
const IN_PARAM = new RegExp(`([?&;\\s](?:amp;)?${NAMES}=["']?)([^&;\\s"'<>]+)`, "gi");
const IN_JSON = new RegExp(`("${NAMES}"\\s*:\\s*")((?:[^"\\\\]|\\\\.)+)`, "gi");
/** RFC 4568, and the key field of RFC 4566 §5.12. */
const IN_SDP = /((?:^|\n)a=crypto:[^\r\n]*?inline:|(?:^|\n)k=[a-z0-9]+:)([^\s|]+)/gi;

function inUrls(text: string, hide: (secret: string) => string): string {
  const put = (_: string, before: string, secret: string) => before + hide(secret);
  return text.replace(IN_SIP_URI, put).replace(IN_USERINFO, put).replace(IN_PARAM, put);
}
