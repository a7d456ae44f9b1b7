import type { SipRequest } from "../sip/message.ts";
import { decodeUtf8 } from "../sip/text.ts";
import { parseUri, type SipUri, unescapeUser } from "../sip/uri.ts";
import { type BodyFields, bodyFormat, noFields, readFields } from "./body.ts";
import type { Source } from "./template.ts";

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

  private readBody(): BodyFields {
    const { body, headers } = this.request;
    if (body.length === 0) return noFields;
    const format = bodyFormat(headers.get("content-type") ?? "");
    if (format === undefined) return noFields;
    const read = readFields(body, format, this.maxBodyBytes);
    if (read.ok) return read.value;
    this.bodyError = read.error;
    return noFields;
  }
}

function readSip(text: string): SipUri | undefined {
  const uri = parseUri(text);
  return uri.ok && uri.value.scheme !== "other" ? uri.value : undefined;
}

function userOf(uri: SipUri | undefined): string | undefined {
  const user = uri && unescapeUser(uri);
  return user === undefined ? undefined : decoded(user);
}

/** Messages hold one character for each octet (src/sip/message.ts); patterns are written in Unicode. */
function decoded(text: string): string {
  for (let i = 0; i < text.length; i++) if (text.charCodeAt(i) > 0x7f) return decodeUtf8(text);
  return text;
}
