import { type ContentType, parseContentType } from "../sip/headers.ts";
import type { Headers, SipRequest } from "../sip/message.ts";
import { bodyParts, type Part } from "../sip/parts.ts";
import { decodeUtf8 } from "../sip/text.ts";
import { parseUri, type SipUri, sipUriOf, unescapeUser } from "../sip/uri.ts";
import { canonicalHost, formatHost } from "../support/address.ts";
import { err, ok, type Result } from "../support/result.ts";
import { type BodyFields, bodyFormat, MOST_FIELDS, readFields } from "./body.ts";
import { type PortalHosts, spellings } from "./spellings.ts";
import type { Source } from "./template.ts";

/** How a request is to be refused. */
export interface Rejection {
  readonly status: number;
  readonly reason: string;
  /** The rule that decided, for the operator; undefined: none did. */
  readonly rule?: string;
}

/** The SDK's clients describe what they want in a body of this type. */
const SERVICE_XML = "application/vnd.tollgate.service+xml";
const SERVICE_NAME = ["service", "@name"];

export interface ViewOptions extends PortalHosts {
  /** Largest body whose fields are read, in bytes. */
  readonly ruleBodyBytes: number;
}

/** A request as rules see it: text decoded for people, the body read at most once and only when a rule asks for it. */
export class RequestView {
  /**
   * Set when a rule asks for something that cannot be read, or is too long to be matched. Nobody can then say which
   * rule holds.
   */
  problem: Rejection | undefined;
  /** Who signed in; undefined: nobody has. */
  readonly user: string | undefined;
  private readonly request: SipRequest;
  private readonly options: ViewOptions;
  private uriRead: SipUri | undefined | null = null;
  private uriSpellings: readonly string[] | undefined;
  private fromRead: SipUri | undefined | null = null;
  private fromSpellings: readonly string[] | undefined;
  private parts: readonly BodyFields[] | undefined;

  constructor(request: SipRequest, options: ViewOptions, user: string | undefined) {
    this.request = request;
    this.options = options;
    this.user = user;
  }

  /** The Request-URI in all spellings that mean the same: see `spellings`. */
  get uriTexts(): readonly string[] {
    this.uriSpellings ??= this.textsOf(this.uri, this.request.uri);
    return this.uriSpellings;
  }

  /** The Request-URI, or undefined if it cannot be read as SIP or SIPS URI. */
  get uri(): SipUri | undefined {
    if (this.uriRead === null) this.uriRead = sipUriOf(this.request.uri);
    return this.uriRead;
  }

  get isSip(): boolean {
    return this.uri !== undefined;
  }

  /** User part of the Request-URI without escapes. */
  get uriUser(): string | undefined {
    return userOf(this.uri);
  }

  /** The URI of From in all its spellings. It is only what the client calls itself. */
  get fromTexts(): readonly string[] {
    this.fromSpellings ??= this.textsOf(this.from, this.request.from?.uri ?? "");
    return this.fromSpellings;
  }

  /** The lines of a header. If there are several, a text with all of them joined follows (RFC 3261 §7.3.1). */
  headerValues(key: string): string[] {
    const lines = this.request.headers.all(key).map(decoded);
    if (lines.length > 1) lines.push(lines.join(", "));
    return lines;
  }

  /** The first field at that path. */
  bodyField(path: readonly string[]): string | undefined {
    return this.bodyFields(path)[0];
  }

  /**
   * All fields at that path, in all parts of the body. The first alone would not do: an app server may take another
   * one.
   */
  bodyFields(path: readonly string[]): readonly string[] {
    this.parts ??= this.readBody();
    const fields = this.parts.flatMap((part) => part.all(path));
    if (fields.length <= MOST_FIELDS) return fields;
    this.problem = TOO_MANY_FIELDS;
    return NO_FIELDS;
  }

  /**
   * The service that a body of our own type names: `<service name="beer"/>`. It needs no rule. Undefined if the body
   * names none.
   */
  get describedService(): string | undefined {
    const { body, headers } = this.request;
    if (body.length === 0) return undefined;
    const type = parseContentType(headers.get("content-type") ?? "");
    return type.ok && type.value.type === SERVICE_XML ? this.bodyField(SERVICE_NAME) : undefined;
  }

  /** The text that a placeholder of a rule stands for. Groups of the pattern are not known here. */
  value(source: Exclude<Source, { kind: "group" }>): string | undefined {
    switch (source.kind) {
      case "header": {
        const value = this.request.headers.get(source.key);
        return value === undefined ? undefined : decoded(value);
      }
      case "body":
        return this.bodyField(source.path);
      case "user":
        return this.user;
      case "uri.user":
        return this.uriUser;
      case "uri.host":
        return hostOf(this.uri);
      case "from.user":
        return userOf(this.from);
      case "from.host":
        return hostOf(this.from);
    }
  }

  private get from(): SipUri | undefined {
    if (this.fromRead === null) this.fromRead = sipUriOf(this.request.from?.uri ?? "");
    return this.fromRead;
  }

  private textsOf(uri: SipUri | undefined, text: string): readonly string[] {
    if (uri) return spellings(uri, this.options);
    const other = parseUri(text);
    // Another scheme than SIP's has rules of its own for equal URIs. Only one is applied here: the scheme is in lower
    // case.
    return [decoded(other.ok && other.value.scheme === "other" ? `${other.value.name}:${other.value.rest}` : text)];
  }

  /**
   * Reads all XML and JSON parts: a service description may stand beside an SDP offer (RFC 5621 §3), a location, or
   * another description.
   */
  private readBody(): readonly BodyFields[] {
    const { body, headers } = this.request;
    if (body.length === 0) return NOTHING;
    const read: BodyFields[] = [];
    const wrong = readParts(headers.get("content-type") ?? "text/plain", body, this.options.ruleBodyBytes, read, 0);
    if (wrong === undefined) return read;
    this.problem = { status: 400, reason: wrong };
    return NOTHING;
  }
}

const NOTHING: readonly BodyFields[] = [];
const NO_FIELDS: readonly string[] = [];
const TOO_MANY_FIELDS: Rejection = { status: 400, reason: "Body Has Too Many Fields" };

/** How deep multiparts may stand within multiparts. */
const MOST_LEVELS = 3;
const MOST_PARTS = 32;

/** Reads what can be read of a body into `into`; returns what is wrong with it. */
function readParts(
  contentType: string,
  body: Buffer,
  maxBytes: number,
  into: BodyFields[],
  level: number,
): string | undefined {
  const parts = bodyParts(contentType, body);
  if (!parts.ok) return parts.error;
  for (const part of parts.value) {
    const { type } = part.contentType;
    if (type.startsWith("multipart/")) {
      if (level === MOST_LEVELS) return "Body Too Deep";
      const wrong = readParts(part.headers.get("content-type") ?? "", part.body, maxBytes, into, level + 1);
      if (wrong !== undefined) return wrong;
      continue;
    }
    const read = fieldsOf(part, maxBytes);
    if (!read?.ok) {
      if (read) return read.error;
      continue;
    }
    if (into.length === MOST_PARTS) return "Body Has Too Many Parts";
    into.push(read.value);
  }
  return undefined;
}

/** The fields of a part. Undefined: it is neither XML nor JSON, so it has none. */
function fieldsOf({ contentType, headers, body }: Part, maxBytes: number): Result<BodyFields, string> | undefined {
  const format = bodyFormat(contentType.type);
  if (format === undefined) return undefined;
  const plain = isPlain(contentType, headers);
  return plain.ok ? readFields(body, format, maxBytes) : plain;
}

/**
 * Refuses a part in another charset or encoding: an app server that decodes it could read something else than the
 * rules.
 */
function isPlain({ params }: ContentType, headers: Headers): Result<undefined, string> {
  const charset = params.get("charset");
  if (charset !== undefined && !/^(utf-?8|us-ascii)$/i.test(charset)) return err("Body Is Not UTF-8");
  const transfer = headers.get("content-transfer-encoding");
  const encoding = headers.get("content-encoding");
  const isEncoded = (transfer !== undefined && !/^(7bit|8bit|binary)$/i.test(transfer)) || !isIdentity(encoding);
  return isEncoded ? err("Body Is Encoded") : ok(undefined);
}

const isIdentity = (encoding: string | undefined): boolean =>
  encoding === undefined || encoding.toLowerCase() === "identity";

function userOf(uri: SipUri | undefined): string | undefined {
  const user = uri && unescapeUser(uri);
  return user === undefined ? undefined : decoded(user);
}

const hostOf = (uri: SipUri | undefined): string | undefined => uri && formatHost(canonicalHost(uri.host));

/** Messages hold one character for each octet (src/sip/message.ts); patterns are written in Unicode. */
function decoded(text: string): string {
  for (let i = 0; i < text.length; i++) if (text.charCodeAt(i) > 0x7f) return decodeUtf8(text);
  return text;
}
