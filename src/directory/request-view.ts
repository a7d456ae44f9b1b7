import type { SipRequest } from "../sip/message.ts";
import { bodyParts } from "../sip/parts.ts";
import { decodeUtf8 } from "../sip/text.ts";
import { parseUri, type SipUri, unescape as unescaped } from "../sip/uri.ts";
import { type BodyFields, bodyFormat, noFields, readFields } from "./body.ts";
import type { Source } from "./template.ts";

/** The SDK's clients describe what they want in a body of this type. */
const SERVICE_XML = "application/vnd.tollgate.service+xml";
const SERVICE_NAME = ["service", "@name"];

/** A request as rules see it: text decoded for people, the body read at most once and only when a rule asks for it. */
export class RequestView {
  /** Set once the body was asked for and cannot be read: the reason for a 400. */
  bodyError: string | undefined;
  private readonly request: SipRequest;
  private readonly maxBodyBytes: number;
  private uriRead: SipUri | undefined | null = null;
  private fromRead: SipUri | undefined | null = null;
  private fields: BodyFields | undefined;

  constructor(request: SipRequest, maxBodyBytes: number) {
    this.request = request;
    this.maxBodyBytes = maxBodyBytes;
  }

  get uriText(): string {
    return decoded(this.request.uri);
  }

  /** The Request-URI, or undefined where it cannot be read as SIP or SIPS URI. */
  get uri(): SipUri | undefined {
    if (this.uriRead === null) this.uriRead = readSip(this.request.uri);
    return this.uriRead;
  }

  get isSip(): boolean {
    return this.uri !== undefined;
  }

  /** User part of the Request-URI without escapes. */
  get uriUser(): string | undefined {
    return userOf(this.uri);
  }

  /** The URI of From, without the password that it may hold. */
  get fromText(): string {
    const text = this.request.from?.uri ?? "";
    const at = text.lastIndexOf("@");
    const colon = text.indexOf(":", text.indexOf(":") + 1);
    return decoded(at >= 0 && colon >= 0 && colon < at ? text.slice(0, colon) + text.slice(at) : text);
  }

  headerValues(key: string): string[] {
    return this.request.headers.all(key).map(decoded);
  }

  bodyField(path: readonly string[]): string | undefined {
    this.fields ??= this.readBody();
    return this.fields.get(path);
  }

  /** The service that a body of our own type names, without any rule for it: `<service name="beer"/>`. Undefined where it names none. */
  get describedService(): string | undefined {
    const { body, headers } = this.request;
    if (body.length === 0 || !headers.get("content-type")?.toLowerCase().startsWith(SERVICE_XML)) return undefined;
    return this.bodyField(SERVICE_NAME);
  }

  /** What a placeholder of a rule stands for; groups of the pattern are not asked for here. */
  value(source: Exclude<Source, { kind: "group" }>): string | undefined {
    switch (source.kind) {
      case "header": {
        const value = this.request.headers.get(source.key);
        return value === undefined ? undefined : decoded(value);
      }
      case "body":
        return this.bodyField(source.path);
      case "uri.user":
        return this.uriUser;
      case "uri.host":
        return this.uri?.host;
      case "from.user":
        return userOf(this.from);
      case "from.host":
        return this.from?.host;
    }
  }

  private get from(): SipUri | undefined {
    if (this.fromRead === null) this.fromRead = readSip(this.request.from?.uri ?? "");
    return this.fromRead;
  }

  /** The first XML or JSON part: a service description may stand beside an SDP offer (RFC 5621 §3). */
  private readBody(): BodyFields {
    const { body, headers } = this.request;
    if (body.length === 0) return noFields;
    const parts = bodyParts(headers.get("content-type") ?? "text/plain", body);
    if (!parts.ok) return this.unreadable(parts.error);
    for (const part of parts.value) {
      const format = bodyFormat(part.contentType.type);
      if (format === undefined) continue;
      const read = readFields(part.body, format, this.maxBodyBytes);
      return read.ok ? read.value : this.unreadable(read.error);
    }
    return noFields;
  }

  private unreadable(why: string): BodyFields {
    this.bodyError = why;
    return noFields;
  }
}

function readSip(text: string): SipUri | undefined {
  const uri = parseUri(text);
  return uri.ok && uri.value.scheme !== "other" ? uri.value : undefined;
}

function userOf(uri: SipUri | undefined): string | undefined {
  return uri?.user === undefined ? undefined : decoded(unescaped(uri.user));
}

/** Messages hold one character for each octet (src/sip/message.ts); patterns are written in Unicode. */
function decoded(text: string): string {
  for (let i = 0; i < text.length; i++) if (text.charCodeAt(i) > 0x7f) return decodeUtf8(text);
  return text;
}
