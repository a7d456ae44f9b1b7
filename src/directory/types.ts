import type { ServiceLimits } from "../charging/money/portal-limits.ts";
import type { SettlementTerms } from "../charging/money/settlement-terms.ts";
import type { Tariff } from "../charging/money/tariff.ts";

/** Hex of H(user:realm:password) by each algorithm that can be checked; at least one. */
export interface Ha1 {
  readonly sha256?: string;
  readonly md5?: string;
}

/**
 * A registered user (M2). The password is never kept: only the HA1 values of RFC 7616 §3.4.2 for the user's realm.
 */
export interface User {
  /**
   * The user part of the identity, `alice` in sip:alice@portal.com. In a domain that has users of its own it is
   * `alice@second.example` (realms.ts).
   */
  readonly id: string;
  readonly realm: string;
  /** The customer's name on bills. */
  readonly name?: string;
  /** A user who came from another system may have one value alone, and then signs in by that algorithm alone. */
  readonly ha1: Ha1;
  /** The same for clients that sign in as `alice@portal.com` (`ha1b` of Kamailio). */
  readonly ha1WithDomain?: Ha1;
  /**
   * Telephone numbers from which the user may call, as the operator has verified: `+4930123456`; the first by default.
   */
  readonly numbers?: readonly string[];
  /** Signs in, and is refused with 403. */
  readonly blocked?: Blocked;
  /** Bounds on what this user may have under way. */
  readonly limits?: { readonly sessions?: number };
  /** Pays in advance: sessions are paid from a balance in this currency (ISO 4217). Undefined: pays by the bill. */
  readonly prepaid?: { readonly currency: string };
  /**
   * Pays by the bill, but only so much: what sessions cost is taken out of a balance in this currency, which may go
   * below zero as far as its terms say (CreditTerms).
   */
  readonly postpaid?: { readonly currency: string };
  /** The name on bills and balances, if somebody had this id before; undefined: the id. See accounts.ts. */
  readonly account?: string;
}

export interface Blocked {
  /** Milliseconds since 1970. */
  readonly since: number;
  /** The sessions that were under way then were to end. */
  readonly end?: true;
}

/** What is remembered of a user or an app server that was removed: whoever gets the id next is somebody else. */
export interface Former {
  /** `user alice`, `appserver shop`. */
  readonly id: string;
  /** How many accounts of that name there have been. */
  readonly accounts: number;
  readonly removals: number;
  /** The time of the last removal, milliseconds since 1970. */
  readonly removedAt: number;
}

export type ForkMode = "sequential" | "first" | "all";
/**
 * What a client may ask for by Request-Disposition (RFC 3841 §9.1); `single` is `no-fork`: the best app server and no
 * other.
 */
export type ForkChoice = ForkMode | "single";

/** Something that can be asked for by `sip:<id>@portal` (M1) or that a rule points at (M3). */
export interface Service extends SettlementTerms {
  readonly id: string;
  readonly title?: string;
  /** Id of the tariff by which time is charged; none: time is free. */
  readonly tariff?: string;
  /** How several app servers are asked (M8, M25); default `sequential`. */
  readonly fork?: ForkMode;
  /** The ways among which a client may choose by Request-Disposition; default none: the header is not looked at. */
  readonly clientMayChoose?: readonly ForkChoice[];
  /** From which moment the clock runs (M12); default `ack`. */
  readonly clock?: "ack" | "answer";
  /** Seconds that an app server may ring before the next is tried; default 180 (timer C, RFC 3261 §16.6). */
  readonly ringS?: number;
  /** Bounds on what app servers may charge; amounts are decimal strings. */
  readonly limits?: ServiceLimits;
  /**
   * Seconds that a session takes charges after its end (M15); default `charging.lateChargesS` of the configuration,
   * 0: not at all.
   */
  readonly lateChargesS?: number;
  /** Whether the client is told at the end what the session cost; default: the setting `charging.advice`. */
  readonly advice?: boolean;
  /**
   * What becomes of a session with this service when the client moves on by REFER and does not say whether to keep it
   * (M23, M24); default `end`.
   */
  readonly onMove?: "end" | "keep";
  /**
   * What it takes to change from or to this service within a session (M20, M22): any 2xx (the default), or one that
   * names the new service in Tollgate-Service.
   */
  readonly change?: ChangeProof;
  /** Whether a media relay is in the path of its sessions' media; default `off`. An app server's own setting wins. */
  readonly media?: MediaWay;
  /**
   * Its app servers may call users who have registered a device, and these pay when they answer; default false.
   */
  readonly callsClients?: boolean;
}

/**
 * What counts as consent to a change of service: any 2xx, or only one that names the new service in Tollgate-Service.
 */
export type ChangeProof = "answered" | "confirmed";

export type MediaWay = "rtpengine" | "off";

export interface AppServer extends SettlementTerms {
  readonly id: string;
  /**
   * Where its SIP client part listens: `sip:10.0.0.5:5060;transport=tcp`. Registered may be a URL instead:
   * `https://shop.example/tollgate`.
   */
  readonly uri: string;
  /** Of one that speaks HTTP: where it takes requests. It is registered with this as its `uri` (http-address.ts). */
  readonly url?: string;
  /** Ids of the services it offers (M4). */
  readonly services: readonly string[];
  /** App servers with a lower number are asked first; default 10. */
  readonly priority?: number;
  /** Its share of the sessions among app servers of equal priority; default 1. */
  readonly weight?: number;
  /** How many sessions it takes at once; default unbounded. */
  readonly capacity?: number;
  /** The name in its certificate (RFC 5922); default: the host of its URI. */
  readonly certificate?: string;
  /** Ids of the app servers to which it may send its clients by REFER (M23); default none. */
  readonly mayReferTo?: readonly string[];
  /** What counts as its consent to a change of service within a session; default: what the services say. */
  readonly change?: ChangeProof;
  /** Whether a media relay is in the path of its media; default: what the service says. */
  readonly media?: MediaWay;
}

/**
 * What an app server signs in with to charge outside of a session's own dialog (M15, M17). The secret is never kept. A
 * plain hash of it is, which nobody can reverse, since the secret has 256 random bits; and for SIP the HA1 values of
 * RFC 7616 §3.4.2.
 */
export interface AppServerKey {
  /** The user name of the sign-in. */
  readonly id: string;
  readonly appServer: string;
  /** Realm of the HA1 values: `chargesRealm` of the portal's. */
  readonly realm: string;
  /** Hex of SHA-256 over the secret. */
  readonly hash: string;
  readonly ha1: { readonly sha256: string; readonly md5?: string };
  /** The services that whoever has the key may serve without being configured, by REGISTER; default none. */
  readonly serves?: readonly string[];
  /** Milliseconds since 1970. */
  readonly createdAt: number;
}

/** What an operator, a program of his or an app server signs in with by HTTP. The secret is never kept: its hash is. */
export interface ApiToken {
  /** Its name. */
  readonly id: string;
  readonly role: "viewer" | "operator" | "biller" | "app-server";
  /** Hex of SHA-256 over the secret, which has 256 random bits. */
  readonly hash: string;
  /** Milliseconds since 1970. */
  readonly createdAt: number;
  readonly expiresAt?: number;
  /** For whom an app server's token charges. */
  readonly appServer?: string;
}

/** An app server that the operator has taken out of service: no session begins there, and those that run go on. */
export interface OutOfService {
  /** Of the app server, in the configuration or in the store. */
  readonly id: string;
  /** Milliseconds since 1970. */
  readonly since: number;
}

/**
 * A rule (M3): the first whose every condition holds decides. Patterns are regular expressions of RE2, anchored at
 * both ends.
 */
export interface Rule {
  readonly name: string;
  readonly when: {
    /** Request-URI in its canonical spelling: see src/directory/spellings.ts. */
    readonly uri?: string;
    /** URI of From: what the client calls itself, which may be nobody. */
    readonly from?: string;
    /** The user who signed in. */
    readonly user?: string;
    /** Patterns by the name of a header. */
    readonly header?: Readonly<Record<string, string>>;
    /**
     * Patterns by the path in an XML or JSON body: `request.category`, `order.items.0.name`, `request.@lang` for an XML
     * attribute.
     */
    readonly body?: Readonly<Record<string, string>>;
  };
  readonly then: {
    /** A service id; `$1` stands for the first group of the `uri` pattern. */
    readonly service?: string;
    /**
     * Named attributes of the request, of the client: literal, or `{header.X}`, `{body.path}`, `{user}`. App servers
     * are told of them.
     */
    readonly attributes?: Readonly<Record<string, string>>;
    readonly client?: Readonly<Record<string, string>>;
    /** Only these app servers are asked. */
    readonly appServers?: readonly string[];
    readonly fork?: ForkMode;
    /** Replaces `clientMayChoose` of the service. */
    readonly clientMayChoose?: readonly ForkChoice[];
    readonly tariff?: string;
    /** Refuses the request with this status instead. */
    readonly reject?: number;
  };
}

/** What the rules made of a request. */
export interface Identified {
  readonly service: Service;
  readonly rule?: string;
  readonly attributes: Readonly<Record<string, string>>;
  readonly client: Readonly<Record<string, string>>;
  readonly appServers?: readonly string[];
  readonly fork: ForkMode;
  readonly clientMayChoose?: readonly ForkChoice[];
  readonly tariff?: Tariff;
}
