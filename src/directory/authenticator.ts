import {
  type Authorization,
  digestResponse,
  formatChallenge,
  ha1,
  parseAuthorization,
  sameSecret,
} from "../sip/digest.ts";
import type { SipRequest } from "../sip/message.ts";
import { decodeUtf8 } from "../sip/text.ts";
import { effectivePort, parseUri, type SipUri, unescape as unescaped } from "../sip/uri.ts";
import { canonicalHost, sameHost } from "../support/address.ts";
import type { Clock } from "../support/clock.ts";
import type { Flow } from "../transport/types.ts";
import { NonceCounts, Nonces } from "./nonces.ts";
import { sourceKey, Throttle, type ThrottleSettings } from "./throttle.ts";
import type { User } from "./types.ts";

export type Algorithm = "sha-256" | "md5";

export interface AuthenticatorSettings {
  readonly realm: string;
  /** Offered in this order (RFC 8760 §2.4: the one that is preferred first). */
  readonly algorithms: readonly Algorithm[];
  readonly nonceLifetimeS: number;
  /** Whether a password in the From URI signs in (M2): never, on TLS only, always. */
  readonly fromPassword: "off" | "tls" | "always";
  /** Accepts clients of RFC 2069, which send no qop; a nonce then serves once. */
  readonly legacyNoQop: boolean;
  /** Whether the user in From must be the one that signs in. */
  readonly fromMustMatch: boolean;
  readonly throttle: ThrottleSettings;
}

export type Verdict =
  | { readonly verdict: "accepted"; readonly user: string }
  /** 401. `challenges` are values of WWW-Authenticate, one for each algorithm. `stale`: only the nonce is out of date. */
  | { readonly verdict: "challenge"; readonly challenges: readonly string[]; readonly stale: boolean }
  /** `reason` is for the log, never for the peer. */
  | {
      readonly verdict: "refused";
      readonly status: 401 | 403;
      readonly reason: string;
      readonly challenges: readonly string[];
    }
  | { readonly verdict: "throttled"; readonly retryAfterS: number };

export interface Authenticator {
  /** Says whether a request comes from a registered user who knows the password (M2, RFC 3261 §22.2 as a UAS). Never throws. */
  authenticate(request: SipRequest, flow: Pick<Flow, "secure" | "remoteAddress">): Verdict;
  /** The challenges for a request without any credentials, values of WWW-Authenticate; undefined where it brings some. */
  challengesFor(request: SipRequest, flow: Pick<Flow, "secure" | "remoteAddress">): readonly string[] | undefined;
}

export interface AuthenticatorOptions {
  readonly directory: {
    user(id: string): User | undefined;
    /** Whether a host in a URI means this portal; where it is missing, any does. */
    isPortal?(host: string): boolean;
  };
  readonly settings: AuthenticatorSettings;
  readonly clock: Pick<Clock, "monotonic">;
  /** At least 32 random bytes; nonces of another secret are foreign. */
  readonly secret: Buffer;
  /** How many nonces in use are remembered; default 131,072 (2 MB). */
  readonly nonceSlots?: number;
}

export const createAuthenticator = (options: AuthenticatorOptions): Authenticator => new DigestAuthenticator(options);

const NONCE_SLOTS = 131_072;

class DigestAuthenticator implements Authenticator {
  private readonly directory: AuthenticatorOptions["directory"];
  private readonly settings: AuthenticatorSettings;
  private readonly clock: Pick<Clock, "monotonic">;
  private readonly nonces: Nonces;
  private readonly counts: NonceCounts;
  private readonly throttle: Throttle;
  /** HA1 for users that do not exist: wrong user and wrong password take the same time. */
  private readonly nobody: User;

  constructor({ directory, settings, clock, secret, nonceSlots = NONCE_SLOTS }: AuthenticatorOptions) {
    this.directory = directory;
    this.settings = settings;
    this.clock = clock;
    this.nonces = new Nonces(secret, settings.nonceLifetimeS * 1000);
    this.counts = new NonceCounts(nonceSlots);
    this.throttle = new Throttle(settings.throttle);
    const password = secret.toString("hex");
    this.nobody = {
      id: "",
      realm: settings.realm,
      ha1: { sha256: ha1("sha-256", "", settings.realm, password), md5: ha1("md5", "", settings.realm, password) },
    };
  }

  authenticate(request: SipRequest, flow: Pick<Flow, "secure" | "remoteAddress">): Verdict {
    const now = this.clock.monotonic();
    const source = sourceKey(flow.remoteAddress);
    const authorization = this.authorizationOf(request);
    if (authorization === undefined) {
      const password = this.mayUseFromPassword(flow) ? fromPassword(request) : undefined;
      return password === undefined
        ? this.challenge(now, source, false)
        : this.checkFrom(request, password, now, source);
    }
    return this.checkDigest(request, authorization, now, source);
  }

  challengesFor(request: SipRequest, flow: Pick<Flow, "secure" | "remoteAddress">): readonly string[] | undefined {
    if (request.headers.has("authorization")) return undefined;
    if (this.mayUseFromPassword(flow) && fromPassword(request)) return undefined;
    return this.challenges(this.clock.monotonic(), sourceKey(flow.remoteAddress), false);
  }

  private checkDigest(request: SipRequest, auth: Authorization, now: number, source: string): Verdict {
    const waitMs = this.throttle.waitMs(source, now);
    if (waitMs > 0) return throttled(waitMs);
    const nonce = this.nonces.check(auth.nonce, now, source);
    // A nonce that was never ours says nothing about the password: the client gets a new one and asks its user nothing. The password is not
    // looked at, or a made-up nonce would be a way to guess without being slowed; and a forged source address cannot have a nonce of ours.
    if (nonce.kind === "foreign") return this.challenge(now, source, true);
    const algorithm = this.algorithmOf(auth);
    const problem = algorithm === undefined ? "algorithm not offered" : this.formProblem(request, auth);
    if (algorithm === undefined || problem !== undefined) return this.refuse(problem ?? "", now, source);
    const user = this.directory.user(auth.username);
    const known = this.ha1Of(user, algorithm);
    const expected = digestResponse({
      algorithm,
      ha1: known ?? this.ha1Of(this.nobody, algorithm)!,
      method: request.method,
      uri: auth.uri,
      nonce: auth.nonce,
      qop: auth.qop,
      nc: auth.nc,
      cnonce: auth.cnonce,
    });
    if (!sameSecret(auth.response.toLowerCase(), expected) || known === undefined || user === undefined) {
      this.throttle.failed(source, now);
      return this.refuse("wrong user or password", now, source);
    }
    // RFC 7616 §3.3, stale: the digest is right and only the nonce is not.
    if (nonce.kind === "expired") return this.challenge(now, source, true);
    const count = auth.qop === undefined ? 1 : Number.parseInt(auth.nc!, 16);
    if (!this.counts.use(nonce.sequence, count)) return this.challenge(now, source, true); // RFC 7616 §3.4, nc: a replay
    return this.accept(request, user);
  }

  /** M2: user id and password in From. */
  private checkFrom(
    request: SipRequest,
    from: { user: string; password: string },
    now: number,
    source: string,
  ): Verdict {
    const waitMs = this.throttle.waitMs(source, now);
    if (waitMs > 0) return throttled(waitMs);
    const user = this.directory.user(from.user);
    const given = ha1("sha-256", from.user, this.settings.realm, from.password);
    const known = this.ha1Of(user, "sha-256");
    if (sameSecret(given, known ?? this.nobody.ha1.sha256) && known !== undefined && user !== undefined)
      return this.accept(request, user);
    this.throttle.failed(source, now);
    return this.refuse("wrong user or password in From", now, source);
  }

  private accept(request: SipRequest, user: User): Verdict {
    if (!this.settings.fromMustMatch || this.fromIs(request, user.id)) return { verdict: "accepted", user: user.id };
    return {
      verdict: "refused",
      status: 403,
      reason: `From is not the user ${user.id} of this portal who signed in`,
      challenges: [],
    };
  }

  /** Whether From names that user of this portal, or nobody. */
  private fromIs(request: SipRequest, user: string): boolean {
    const uri = fromUri(request);
    if (uri === undefined) return false;
    const named = userOf(uri);
    // Nobody else's name may stand there: whoever reads From would take it for the caller's.
    if (canonicalHost(uri.host) === ANONYMOUS_HOST) return named === user || ANONYMOUS.test(named);
    return named === user && (this.directory.isPortal?.(uri.host) ?? true);
  }

  /** The credentials for this realm; a request may carry others, for other realms (RFC 3261 §22.3). */
  private authorizationOf(request: SipRequest): Authorization | undefined {
    for (const field of request.headers.fields) {
      if (field.key !== "authorization") continue;
      const read = parseAuthorization(field.value);
      if (read.ok && read.value.realm === this.settings.realm) return read.value;
    }
    return undefined;
  }

  private algorithmOf(auth: Authorization): Algorithm | undefined {
    const name = (auth.algorithm ?? "md5").toLowerCase(); // RFC 7616 §3.4: MD5 where nothing is said
    return this.settings.algorithms.find((offered) => offered === name);
  }

  /** What is wrong with the credentials, apart from user and password. */
  private formProblem(request: SipRequest, auth: Authorization): string | undefined {
    if (auth.qop === undefined) {
      if (!this.settings.legacyNoQop) return "no qop";
    } else {
      if (auth.qop.toLowerCase() !== "auth") return "qop is not auth";
      if (auth.cnonce === undefined || auth.nc === undefined || !/^[0-9a-fA-F]{8}$/.test(auth.nc))
        return "nc or cnonce is missing";
    }
    return sameTarget(auth.uri, request.uri) ? undefined : "uri is not the Request-URI";
  }

  private ha1Of(user: User | undefined, algorithm: Algorithm): string | undefined {
    if (user === undefined || user.disabled === true || user.realm !== this.settings.realm) return undefined;
    return algorithm === "sha-256" ? user.ha1.sha256 : user.ha1.md5;
  }

  private mayUseFromPassword(flow: Pick<Flow, "secure">): boolean {
    return this.settings.fromPassword === "always" || (this.settings.fromPassword === "tls" && flow.secure);
  }

  private challenge(now: number, source: string, stale: boolean): Verdict {
    return { verdict: "challenge", challenges: this.challenges(now, source, stale), stale };
  }

  private refuse(reason: string, now: number, source: string): Verdict {
    return { verdict: "refused", status: 401, reason, challenges: this.challenges(now, source, false) };
  }

  private challenges(now: number, source: string, stale: boolean): string[] {
    const { realm, algorithms } = this.settings;
    const nonce = this.nonces.issue(now, source);
    return algorithms.map((algorithm) => formatChallenge({ realm, nonce, algorithm, stale }));
  }
}

const throttled = (waitMs: number): Verdict => ({ verdict: "throttled", retryAfterS: Math.ceil(waitMs / 1000) });

/** User and password of the From URI, if it has both. */
function fromPassword(request: SipRequest): { user: string; password: string } | undefined {
  const uri = fromUri(request);
  if (uri?.user === undefined || uri.password === undefined) return undefined;
  return { user: unescaped(uri.user), password: decodeUtf8(unescaped(uri.password)) };
}

function fromUri(request: SipRequest): SipUri | undefined {
  const uri = parseUri(request.from?.uri ?? "");
  return uri.ok && uri.value.scheme !== "other" ? uri.value : undefined;
}

/** RFC 3323 §4.1.1.3: a From of this host names nobody, on purpose. */
const ANONYMOUS_HOST = "anonymous.invalid";
const ANONYMOUS = /^(anonymous)?$/i;

/**
 * Whether credentials were made for this request (RFC 7616 §3.4.6, RFC 3261 §22.4 item 6): the same scheme, user, host and port. Parameters may
 * differ: clients and proxies on the way add and take away `transport` and `lr`.
 */
function sameTarget(digestUri: string, requestUri: string): boolean {
  if (digestUri === requestUri) return true;
  const a = parseUri(digestUri);
  const b = parseUri(requestUri);
  if (!a.ok || !b.ok || a.value.scheme === "other" || b.value.scheme === "other") return false;
  return (
    a.value.scheme === b.value.scheme &&
    sameHost(a.value.host, b.value.host) &&
    effectivePort(a.value) === effectivePort(b.value) &&
    userOf(a.value) === userOf(b.value)
  );
}

const userOf = (uri: SipUri): string => unescaped(uri.user ?? "");
