import type { Algorithm } from "../sip/digest.ts";
import type { SipRequest } from "../sip/message.ts";
import type { SipUri } from "../sip/uri.ts";
import type { Clock } from "../support/clock.ts";
import type { Flow } from "../transport/types.ts";
import type { Guesses, GuessesElsewhere, LockOut, WhichLockOuts } from "./guesses.ts";
import type { UserAgentOffer } from "./offers.ts";
import type { ThrottleSettings } from "./throttle.ts";
import type { User } from "./types.ts";

/* What a sign-in is: its settings, where it comes from, what comes of it. */

export interface AuthenticatorSettings {
  readonly realm: string;
  /** Domains that have users of their own, and are the realms of these; default none. */
  readonly ownUsers?: readonly string[];
  /** Offered in this order (RFC 8760 §2.4: the one that is preferred first). */
  readonly algorithms: readonly Algorithm[];
  /** Clients that are offered others, or in another order; default none. */
  readonly userAgents?: readonly UserAgentOffer[];
  readonly nonceLifetimeS: number;
  /** Whether a password in the From URI signs in (M2): never, on TLS only, always. */
  readonly fromPassword: "off" | "tls" | "always";
  /** Whether clients of RFC 2069 are accepted, which send no qop. A nonce then serves only once. */
  readonly legacyNoQop: boolean;
  /** Whether the user in From must be the one that signs in. */
  readonly fromMustMatch: boolean;
  /** Undefined: nobody has to wait, since nobody can guess such passwords. */
  readonly throttle: ThrottleSettings | undefined;
}

/** Where a request comes from: its flow, or the source that a trusted proxy names. */
export type SignInSource = Pick<Flow, "secure" | "remoteAddress"> &
  Partial<Pick<Flow, "remotePort" | "transport">> & {
    /** The request comes through a proxy of the operator, which may have written another Request-URI. */
    readonly byProxy?: boolean;
  };

export type Verdict =
  /**
   * `byFrom`: the password stood in From, so the source address may be forged. A digest proves the address, since its
   * nonce was sent there.
   */
  | { readonly verdict: "accepted"; readonly user: string; readonly byFrom?: true }
  /**
   * 401. `challenges` are values of WWW-Authenticate, one for each algorithm. `stale`: only the nonce is out of date.
   */
  | { readonly verdict: "challenge"; readonly challenges: readonly string[]; readonly stale: boolean }
  /**
   * `reason` is for the log, never for the peer. `user`: who has shown the password and is refused all the same.
   * Undefined: nobody has shown one.
   */
  | {
      readonly verdict: "refused";
      readonly status: 401 | 403;
      readonly reason: string;
      readonly challenges: readonly string[];
      readonly user?: string;
    }
  | { readonly verdict: "throttled"; readonly retryAfterS: number }
  /**
   * The digest is right, and the nonce is of another node, which is being asked whether its count is new. `settled`
   * never rejects.
   */
  | { readonly verdict: "asking"; readonly settled: Promise<SettledVerdict> };

/** What is known at last. */
export type SettledVerdict = Exclude<Verdict, { verdict: "asking" }>;

/** Credentials with a nonce of another node: what that node needs to know, to say whether their count is new. */
export interface NonceUse {
  readonly nonce: string;
  /** To whom the nonce was issued, see `sourceKey`. */
  readonly source: string;
  readonly count: number;
  /** Who has shown the password. */
  readonly user: string;
}

/** The nonces of the other nodes of the cluster. Each node alone counts the uses of those that it made. */
export interface OtherNonces {
  /** Which other node made this nonce for that source. Undefined: no node that is there now. */
  makerOf(nonce: string, source: string): string | undefined;
  /**
   * Asks the node that made it. True: the nonce is young enough, and the count is new. False also if no answer comes in
   * time. Never rejects.
   */
  use(maker: string, use: NonceUse): Promise<boolean>;
}

/** A sign-in that was not accepted, for the log. */
export interface Refusal {
  readonly request: SipRequest;
  readonly source: SignInSource;
  /** As the peer wrote it; undefined: it named none. */
  readonly user: string | undefined;
  readonly reason: string;
  /** The credentials were not checked, since so many seconds are left to wait. */
  readonly waitS?: number;
  /** There is no such user. */
  readonly isUnknown?: boolean;
  /** Nothing shows that the sender is where it seems to be. */
  readonly mayBeForged?: boolean;
  /** The lock-out that begins with this failure. */
  readonly lockOut?: LockOut | undefined;
}

export interface Authenticator {
  /**
   * Says whether a request comes from a registered user who knows the password (M2, RFC 3261 §22.2 as a UAS). Never
   * throws.
   */
  authenticate(request: SipRequest, source: SignInSource): Verdict;
  /** The challenges for a request without any credentials, values of WWW-Authenticate; undefined if it brings some. */
  challengesFor(request: SipRequest, source: SignInSource): readonly string[] | undefined;
  /** Whether the user that a request names, rightly or not, has signed in from there before. */
  knowsThere?(request: SipRequest, source: SignInSource): boolean;
  /** Whether a URI names that user of this portal: as address of record, or in From. */
  names(uri: SipUri, user: string): boolean;
  /** The id of the user that a URI of this portal names, registered or not. */
  idIn(uri: SipUri): string;
  /** Another node asks about a nonce that was made here: takes its count, if it is new and the nonce young enough. */
  useNonce?(use: NonceUse): boolean;
  /** Failed sign-ins, where they make somebody wait. */
  readonly guesses?: Guesses | undefined;
  /** Who has to wait now. */
  lockOuts?(): LockOut[];
  /** Lifts lock-outs; returns how many. */
  lift?(which: WhichLockOuts): number;
}

export interface AuthenticatorOptions {
  readonly directory: {
    user(id: string): User | undefined;
    /** Whether a host is this portal's. Without this function, credentials for any host are accepted. */
    isPortal?(host: string): boolean;
  };
  readonly settings: AuthenticatorSettings;
  readonly clock: Pick<Clock, "monotonic">;
  /** At least 32 random bytes; nonces of another secret are foreign. */
  readonly secret: Buffer;
  /** This node's name, with which its nonces begin; default: there are no other nodes. */
  readonly node?: string | undefined;
  readonly otherNonces?: OtherNonces | undefined;
  /** Who is told of failed sign-ins; default: there are no other nodes. */
  readonly guessesElsewhere?: GuessesElsewhere | undefined;
  /** How many nonces in use are remembered; default 131,072 (3 MB). */
  readonly nonceSlots?: number;
  /** Is told of every sign-in that was refused. */
  readonly refused?: (refusal: Refusal) => void;
}
