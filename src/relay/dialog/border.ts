import type { Side } from "../../../machines/events.ts";
import { bringsCharges } from "../../charging/charges/body.ts";
import { isOwnHeader } from "../../config/headers.ts";
import type { Config } from "../../config/schema.ts";
import { partsOf } from "../../directory/realms.ts";
import { parseParams, quote, splitList, unquote } from "../../sip/headers.ts";
import type { HeaderField, Headers, SipMessage, SipRequest, SipResponse } from "../../sip/message.ts";
import { Role } from "../../sip/names.ts";
import { formatParams } from "../../sip/params.ts";
import { asReasonPhrase, reasonPhrase } from "../../sip/response.ts";
import { escapeUser } from "../../sip/uri.ts";
import { formatHost } from "../../support/address.ts";
import { ALLOW, METHODS, OF_BODY, OWN_OPTIONS, withoutBody } from "./passing.ts";
import { isSessionId } from "./session-id.ts";

/*
 * The relay is the border between clients, who may say anything, and app servers, which trust the relay (decision 18).
 * Only those header fields cross that are named here, or by the operator.
 */

/** Header fields that cross in both directions. */
const BOTH =
  `accept accept-encoding accept-language allow-events authentication-info date event expires in-reply-to info-package
 min-expires priority privacy proxy-authenticate retry-after session-id subject subscription-state timestamp
 unsupported user-to-user www-authenticate`.split(/\s+/);

/**
 * What a client says of itself and of its wishes. No header field with which networks tell each other who calls, by
 * which way, or who pays.
 */
const FROM_CLIENTS =
  "accept-contact geolocation reason reject-contact request-disposition server user-agent warning".split(" ");

/** What the user is meant to see. Nothing that shows the way inside or its machines, or leads past the relay. */
const TO_CLIENTS = "alert-info call-info geolocation-error organization".split(" ");

/**
 * Option tags that mean something between the two ends and nothing to the relay: they may cross it (RFC 3261 §19.2).
 */
const CROSSING_OPTIONS = ["from-change"];
/** Session timers (RFC 4028), where the relay has none of its own. */
const TIMER_OPTION = "timer";
const TIMER_HEADERS = ["min-se", "session-expires"];
/** What a request that only refreshes a session may have: nobody needs to hear it at the other end. */
const OF_NO_CHANGE = new Set(
  `accept accept-encoding accept-language allow allow-events date expires min-se priority require server session-expires session-id
 subject supported timestamp user-agent`.split(/\s+/),
);
/** Option tags that mean something only together with a header field. */
const OPTION_OF: readonly (readonly [key: string, option: string])[] = [
  ["history-info", "histinfo"],
  ["resource-priority", "resource-priority"],
];

/** The header fields that cross in one direction. */
class Gate {
  private readonly names: ReadonlySet<string>;
  private readonly more: ReadonlySet<string>;
  private readonly prefixes: readonly string[];

  /** `more`: names as the operator wrote them. A name that ends with `*` stands for all that begin like it. */
  constructor(always: readonly string[], more: readonly string[]) {
    const keys = more.map((name) => name.toLowerCase()).filter((key) => !isOwnHeader(key));
    this.more = new Set(keys);
    this.names = new Set([...BOTH, ...OF_BODY, ...always, ...keys]);
    this.prefixes = keys.filter((key) => key.endsWith("*")).map((key) => key.slice(0, -1));
  }

  lets(key: string): boolean {
    return this.names.has(key) || this.letsByPrefix(key);
  }

  /** Whether it crosses because of the operator's settings. */
  letsBySetting(key: string): boolean {
    return this.more.has(key) || this.letsByPrefix(key);
  }

  private letsByPrefix(key: string): boolean {
    for (const prefix of this.prefixes) if (key.startsWith(prefix)) return !isOwnHeader(key);
    return false;
  }
}

export class Border {
  private readonly toServers: Gate;
  private readonly toClients: Gate;
  private readonly crossing: ReadonlySet<string>;
  /** Each leg has a session timer of its own. */
  private readonly hasTimers: boolean;
  private readonly supported: Readonly<Record<Side, string>>;
  /** The host that stands in URIs for everything inside. */
  private readonly portal: string;

  constructor({ headers, portal, session }: Pick<Config, "headers" | "portal" | "session">) {
    this.hasTimers = session.timer !== "off";
    const timers = this.hasTimers ? [] : TIMER_HEADERS;
    this.toServers = new Gate([...FROM_CLIENTS, ...timers], headers.fromClients);
    this.toClients = new Gate([...TO_CLIENTS, ...timers], headers.toClients);
    const more = OPTION_OF.filter(([key]) => this.toServers.lets(key)).map(([, option]) => option);
    this.crossing = new Set([...CROSSING_OPTIONS, ...(this.hasTimers ? [] : [TIMER_OPTION]), ...more]);
    this.portal = portal.domains[0]!;
    const own = this.hasTimers ? [TIMER_OPTION] : [];
    this.supported = {
      client: [...own, ...OWN_OPTIONS].join(", "),
      server: [...own, "norefersub"].join(", "), // the others mean nothing in a dialog with an app server
    };
  }

  /**
   * Says in a 2xx to INVITE, UPDATE or OPTIONS what the relay supports, besides what crosses it (RFC 3261 §11.2,
   * §13.3.1.4).
   */
  addAbilities(headers: Headers, towards: Side): void {
    if (!headers.has("allow")) headers.add("Allow", ALLOW);
    headers.add("Supported", this.supported[towards]);
  }

  /** Whether that header field crosses. `key`: as in `Headers`. */
  lets(key: string, towards: Side): boolean {
    return (towards === "client" ? this.toClients : this.toServers).lets(key);
  }

  /** Whether the operator's settings let this header field of a client pass. */
  operatorLets(key: string): boolean {
    return this.toServers.letsBySetting(key);
  }

  /** The URI of a registered user, which is what the relay asserts (RFC 3325 §9.1), or of a service. */
  uriOf(user: string): string {
    const { name, domain } = partsOf(user);
    return `sip:${escapeUser(name)}@${domain === undefined ? this.portal : formatHost(domain)}`;
  }

  /**
   * Passes header fields and body to the other leg's message. Returns false where the body was left out: it had an app
   * server's charges, which no client sees (M16).
   */
  pass(from: SipMessage, to: SipMessage, towards: Side): boolean {
    this.passHeaders(from.headers, to.headers, towards);
    const type = towards === "client" ? from.headers.get("content-type") : undefined;
    if (bringsCharges(type, from.body)) {
      withoutBody(to);
      return false;
    }
    to.body = from.body;
    return true;
  }

  /**
   * Whether a request within a session is for the relay alone: it refreshes the session (RFC 4028), and brings nothing
   * that the other end should hear.
   */
  onlyRefreshes({ headers, body }: SipRequest, towards: Side): boolean {
    if (!this.hasTimers || body.length > 0 || !headers.has("session-expires")) return false;
    for (const { header } of headers.fields) {
      if (header.role !== Role.other && header.role !== Role.single) continue;
      if (!OF_NO_CHANGE.has(header.key) && this.lets(header.key, towards)) return false;
    }
    return true;
  }

  private passHeaders(from: Headers, to: Headers, towards: Side): void {
    const gate = towards === "client" ? this.toClients : this.toServers;
    const source = from.fields;
    const target = to.fields;
    for (let i = 0; i < source.length; i++) {
      const field = source[i]!;
      const { role, key } = field.header;
      // Most header fields have a role. Each with a role other than `single` belongs to one leg and never crosses, so
      // it need not be looked up.
      if (role !== Role.other && role !== Role.single) continue;
      if (key === "session-id" && !isSessionId(field.value)) continue;
      if (gate.lets(key)) target.push(key === "retry-after" && towards === "client" ? withoutComment(field) : field);
      else if (key === "supported" || key === "require") this.passOptions(field, to);
      else if (key === "allow") passMethods(field, to);
      else if (towards === "client" && key === "reason") passReasons(field, to);
      else if (towards === "client" && key === "warning") this.passWarnings(field, to);
    }
  }

  private passOptions({ name, value }: HeaderField, to: Headers): void {
    const crossing = splitList(value).filter((tag) => this.crossing.has(tag.toLowerCase()));
    if (crossing.length > 0) to.add(name, crossing.join(", "));
  }

  /** RFC 3261 §20.43: a Warning names its sender by host and port. These stay inside. */
  private passWarnings({ value }: HeaderField, to: Headers): void {
    for (const warning of splitList(value)) {
      const [, code, text] = WARNING.exec(warning) ?? [];
      if (code !== undefined && text !== undefined && !showsAddress(text))
        to.add("Warning", `${code} ${this.portal} ${quote(unquote(text))}`);
    }
  }

  /** The reason phrase as the other end gets it. */
  phrase({ status, reason }: Pick<SipResponse, "status" | "reason">, towards: Side): string {
    const usual = reasonPhrase(status);
    if (reason === usual) return reason;
    return towards === "client" && showsAddress(reason) ? usual : asReasonPhrase(reason);
  }

  /**
   * Option tags in Require that the relay does not support, for Unsupported in a 420 (RFC 3261 §8.2.2.3). `first`: the
   * request is the INVITE that opens a session. Only for that one there are reliable provisional answers (RFC 3262),
   * not for a re-INVITE.
   */
  unsupportedOptions(headers: Headers, first: boolean): readonly string[] {
    if (!headers.has("require")) return NOTHING;
    return splitList(headers.all("require").join(",")).filter((tag) => {
      const option = tag.toLowerCase();
      const served = this.crossing.has(option) || OWN_OPTIONS.includes(option as never) || option === TIMER_OPTION;
      return !served && !(first && option === "100rel");
    });
  }
}

const NOTHING: readonly string[] = [];

function passMethods({ value }: HeaderField, to: Headers): void {
  to.add(
    "Allow",
    splitList(value)
      .filter((method) => METHODS.includes(method as never))
      .join(", "),
  );
}

/** warn-code SP warn-agent SP warn-text (RFC 3261 §25.1). */
const WARNING = /^(\d{3})[ \t]+[^ \t"]+[ \t]+("(?:[^"\\]|\\.)*")$/;

/**
 * RFC 3261 §20.33: Retry-After may have a comment, which is text for people. If the text shows an address, only the
 * time to wait stays.
 */
function withoutComment(field: HeaderField): HeaderField {
  const at = field.value.search(/[(;]/);
  return at < 0 || !showsAddress(field.value) ? field : field.with(field.value.slice(0, at).trim());
}

/** A longer text is not searched: it counts as one that shows an address. */
const MOST_TEXT = 256;
/** IPv4, IPv6 with or without brackets, a host with a port, a URI. */
const ADDRESS =
  /\d{1,3}(?:\.\d{1,3}){3}|\[[0-9a-f:.]+\]|::[0-9a-f]|[0-9a-f]::|(?:[0-9a-f]{1,4}:){7}[0-9a-f]|[a-z0-9]\.[a-z0-9-]+:\d|\b(?:sips?|tel|https?):/i;

/** Whether a text for people shows an address: proxies write what they know of the inside into such texts. */
const showsAddress = (text: string): boolean => text.length > MOST_TEXT || ADDRESS.test(text);

/** Reason (RFC 3326), without texts that show addresses. */
function passReasons(field: HeaderField, to: Headers): void {
  if (!showsAddress(field.value)) {
    to.fields.push(field);
    return;
  }
  for (const reason of splitList(field.value)) {
    const semicolon = reason.indexOf(";");
    const params = parseParams(semicolon < 0 ? "" : reason.slice(semicolon));
    const cause = params.ok ? params.value.get("cause") : undefined;
    if (cause !== undefined && !showsAddress(cause))
      to.add("Reason", reason.slice(0, semicolon).trim() + formatParams([["cause", cause]]));
  }
}
