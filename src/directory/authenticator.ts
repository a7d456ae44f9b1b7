import {
  type Algorithm,
  type Authorization,
  digestResponse,
  formatChallenge,
  ha1,
  parseAuthorization,
  sameSecret,
} from "../sip/digest.ts";
import type { SipRequest } from "../sip/message.ts";
import { decodeUtf8 } from "../sip/text.ts";
import { type SipUri, sipUriOf, unescape as unescaped } from "../sip/uri.ts";
import { canonicalHost, sameHost } from "../support/address.ts";
import { Guesses, type LockOut, type WhichLockOuts } from "./guesses.ts";
import { NonceCounts, Nonces } from "./nonces.ts";
import { Offers } from "./offers.ts";
import { Realms } from "./realms.ts";
import type {
  Authenticator,
  AuthenticatorOptions,
  AuthenticatorSettings,
  NonceUse,
  Refusal,
  SettledVerdict,
  SignInSource,
  Verdict,
} from "./sign-in.ts";
import { sourceKey } from "./throttle.ts";
import type { Ha1, User } from "./types.ts";

export * from "./sign-in.ts";

export const createAuthenticator = (options: AuthenticatorOptions): Authenticator => new DigestAuthenticator(options);

const NONCE_SLOTS = 131_072;

class DigestAuthenticator implements Authenticator {
  private readonly options: AuthenticatorOptions;
  private readonly directory: AuthenticatorOptions["directory"];
  private readonly settings: AuthenticatorSettings;
  private readonly clock: AuthenticatorOptions["clock"];
  private readonly offers: Offers;
  private readonly realms: Realms;
  private readonly nonces: Nonces;
  private readonly counts: NonceCounts;
  readonly guesses: Guesses | undefined;
  /** Its HA1 stands in for users that do not exist, so that a wrong user takes as long as a wrong password. */
  private readonly nobody: User;

  constructor(options: AuthenticatorOptions) {
    const { directory, settings, clock, secret, node, nonceSlots = NONCE_SLOTS } = options;
    this.options = options;
    this.directory = directory;
    this.settings = settings;
    this.clock = clock;
    this.offers = new Offers(settings.algorithms, settings.userAgents ?? []);
    this.realms = new Realms(settings.realm, settings.ownUsers, (host) => directory.isPortal?.(host) ?? true);
    this.nonces = new Nonces(secret, settings.nonceLifetimeS * 1000, node);
    this.counts = new NonceCounts(nonceSlots);
    this.guesses = settings.throttle && new Guesses(settings.throttle, options.guessesElsewhere);
    const password = secret.toString("hex");
    this.nobody = {
      id: "",
      realm: settings.realm,
      ha1: { sha256: ha1("sha-256", "", settings.realm, password), md5: ha1("md5", "", settings.realm, password) },
    };
  }

  authenticate(request: SipRequest, source: SignInSource): Verdict {
    const attempt = new Attempt(request, source, sourceKey(source.remoteAddress), this.clock.monotonic());
    const authorization = this.authorizationOf(request);
    if (authorization !== undefined) return this.checkDigest(attempt, authorization);
    const password = this.mayUseFromPassword(source) ? fromPassword(request) : undefined;
    return password === undefined ? this.challenge(attempt, false) : this.checkFrom(attempt, password);
  }

  challengesFor(request: SipRequest, source: SignInSource): readonly string[] | undefined {
    if (request.headers.has("authorization")) return undefined;
    if (this.mayUseFromPassword(source) && fromPassword(request)) return undefined;
    return this.challenges(
      new Attempt(request, source, sourceKey(source.remoteAddress), this.clock.monotonic()),
      false,
    );
  }

  lockOuts(): LockOut[] {
    return this.guesses?.lockOuts(this.clock.monotonic()) ?? [];
  }

  lift(which: WhichLockOuts): number {
    return this.guesses?.lift(which, this.clock.monotonic()) ?? 0;
  }

  knowsThere(request: SipRequest, source: SignInSource): boolean {
    const authorization = this.authorizationOf(request);
    const from = authorization ? undefined : fromUri(request);
    const id = authorization
      ? this.realms.named(authorization.username, authorization.realm).id
      : from && this.idIn(from);
    const key = sourceKey(source.remoteAddress);
    return id !== undefined && (this.guesses?.isKnownAt(id, key, this.clock.monotonic()) ?? false);
  }

  private checkDigest(attempt: Attempt, auth: Authorization): Verdict {
    const { request, source, key, now } = attempt;
    const { id, withDomain } = this.realms.named(auth.username, auth.realm);
    attempt.user = id;
    const nonce = this.nonces.check(auth.nonce, now, key);
    // The nonce is not ours: the client gets a new one, marked stale, so that it does not ask its user again. The
    // password is not checked: otherwise a made-up nonce would be a way to guess without ever having to wait. A forged
    // source address cannot have a nonce of ours.
    const maker = nonce.kind === "foreign" ? this.options.otherNonces?.makerOf(auth.nonce, key) : undefined;
    if (nonce.kind === "foreign" && maker === undefined) return this.challenge(attempt, true);
    // True if this user has signed in with the nonce before, even if it is out of date now. No guesser has seen that
    // nonce, so a guesser's failures must not make this user wait.
    const proven = nonce.kind !== "foreign" && this.counts.isOf(nonce.sequence, id);
    const waitMs = proven ? 0 : (this.guesses?.waitMs(id, key, now, attempt.line) ?? 0);
    if (waitMs > 0) return this.wait(attempt, waitMs);
    const algorithm = this.offers.named((auth.algorithm ?? "md5").toLowerCase()); // RFC 7616 §3.4: MD5 is the default
    if (algorithm === undefined) return this.refuse(attempt, "the algorithm was not offered");
    const problem = this.formProblem(auth);
    if (problem !== undefined) return this.refuse(attempt, problem);
    if (!this.isForUs(auth.uri, request, source))
      return this.forbid(attempt, "the credentials are for another host: see portal.domains and trustedProxies");
    const user = this.directory.user(id);
    const known = ha1Of(user, auth.realm, algorithm, withDomain);
    const expected = digestResponse({
      algorithm,
      ha1: known ?? ha1Of(this.nobody, this.settings.realm, algorithm)!,
      method: request.method,
      uri: auth.uri, // RFC 3261 §22.4 item 6: as the client saw it, whatever proxies have made of the Request-URI
      nonce: auth.nonce,
      qop: auth.qop,
      nc: auth.nc,
      cnonce: auth.cnonce,
    });
    if (!sameSecret(auth.response.toLowerCase(), expected) || known === undefined || user === undefined) {
      if (proven) this.counts.spoil(nonce.sequence);
      return this.failed(attempt, "wrong user or password", auth.response, user === undefined);
    }
    const count = auth.qop === undefined ? 1 : Number.parseInt(auth.nc!, 16);
    if (nonce.kind === "foreign")
      return this.askMaker(attempt, maker!, { nonce: auth.nonce, source: key, count }, user);
    // RFC 7616 §3.4, nc: a count that comes again is a replay.
    if (!this.counts.use(nonce.sequence, count, user.id)) return this.challenge(attempt, true);
    // RFC 7616 §3.3, stale: the digest is right, only the nonce is too old. The next nonce counts as this user's from
    // the start.
    if (nonce.kind === "expired") return this.challenge(attempt, true, user.id);
    return this.accept(attempt, user);
  }

  /**
   * The node that made the nonce alone knows which counts were used, so a count is taken once in the whole cluster. If
   * that node does not answer, the client gets a nonce of this one.
   */
  private askMaker(attempt: Attempt, maker: string, use: Omit<NonceUse, "user">, user: User): Verdict {
    const asked = this.options.otherNonces!.use(maker, { ...use, user: user.id });
    const settled = asked.then((isNew) => (isNew ? this.accept(attempt, user) : this.challenge(attempt, true)));
    return { verdict: "asking", settled };
  }

  useNonce({ nonce, source, count, user }: NonceUse): boolean {
    const state = this.nonces.check(nonce, this.clock.monotonic(), source);
    return state.kind === "fresh" && this.counts.use(state.sequence, count, user);
  }

  /** M2: checks user id and password in From. */
  private checkFrom(attempt: Attempt, from: { user: string; host: string; password: string }): Verdict {
    const realm = this.realms.of(from.host);
    const { id } = this.realms.named(from.user, realm);
    attempt.user = id;
    const waitMs = this.guesses?.waitMs(id, attempt.key, attempt.now, attempt.line) ?? 0;
    if (waitMs > 0) return this.wait(attempt, waitMs);
    const user = this.directory.user(id);
    const algorithm = user && user.ha1.sha256 === undefined ? "md5" : "sha-256";
    const given = ha1(algorithm, from.user, realm, from.password);
    const known = ha1Of(user, realm, algorithm);
    if (
      sameSecret(given, known ?? ha1Of(this.nobody, this.settings.realm, algorithm)!) &&
      known !== undefined &&
      user !== undefined
    ) {
      const verdict = this.accept(attempt, user);
      return verdict.verdict === "accepted" ? { ...verdict, byFrom: true } : verdict;
    }
    const branch = attempt.request.via?.params.get("branch");
    const what = branch === undefined ? "" : `${branch} ${given}`;
    return this.failed(attempt, "wrong user or password in From", what, user === undefined);
  }

  private accept(attempt: Attempt, { id, blocked }: User): SettledVerdict {
    const { request, key, now, line } = attempt;
    this.guesses?.succeeded(id, key, now, line);
    if (blocked) return this.forbid(attempt, "the user is blocked", id);
    if (!this.settings.fromMustMatch || this.fromIs(request, id)) return { verdict: "accepted", user: id };
    return this.forbid(attempt, `From is not the user ${id} of this portal who signed in`, id);
  }

  /** Whether From names that user of this portal, or nobody. */
  private fromIs(request: SipRequest, user: string): boolean {
    const uri = fromUri(request);
    if (uri === undefined) return false;
    // The name of another user may not stand there: people who read From would take it for the caller's.
    if (canonicalHost(uri.host) === ANONYMOUS_HOST) return userOf(uri) === user || ANONYMOUS.test(userOf(uri));
    return this.names(uri, user);
  }

  names(uri: SipUri, user: string): boolean {
    return this.idIn(uri) === user && (this.directory.isPortal?.(uri.host) ?? true);
  }

  idIn(from: SipUri): string {
    return this.realms.named(userOf(from), this.realms.of(from.host)).id;
  }

  /** The credentials for a realm of ours; a request may carry others, for other realms (RFC 3261 §22.3). */
  private authorizationOf(request: SipRequest): Authorization | undefined {
    for (const field of request.headers.fields) {
      if (field.key !== "authorization") continue;
      const read = parseAuthorization(field.value);
      if (read.ok && this.realms.has(read.value.realm)) return read.value;
    }
    return undefined;
  }

  /** What is wrong with the form of the credentials; undefined: nothing. */
  private formProblem(auth: Authorization): string | undefined {
    if (auth.qop === undefined) return this.settings.legacyNoQop ? undefined : "no qop";
    if (auth.qop.toLowerCase() !== "auth") return "qop is not auth";
    const isComplete = auth.cnonce !== undefined && auth.nc !== undefined && /^[0-9a-fA-F]{8}$/.test(auth.nc);
    return isComplete ? undefined : "nc or cnonce is missing";
  }

  /**
   * Whether credentials were made for a request to this portal (RFC 7616 §3.4.6). Their URI need not be the
   * Request-URI: proxies write another, and some clients sign the address that they send to. But it must be one of
   * ours. Otherwise a stranger's server could pass our challenge on to a client that calls it, and sign in here with
   * the answer.
   */
  private isForUs(digestUri: string, request: SipRequest, source: SignInSource): boolean {
    const { directory } = this;
    if (digestUri === request.uri || source.byProxy === true || directory.isPortal === undefined) return true;
    const uri = sipUriOf(digestUri);
    if (uri === undefined) return false;
    if (directory.isPortal(uri.host)) return true;
    const asked = sipUriOf(request.uri);
    return asked !== undefined && sameHost(uri.host, asked.host);
  }

  private mayUseFromPassword({ secure }: SignInSource): boolean {
    return this.settings.fromPassword === "always" || (this.settings.fromPassword === "tls" && secure);
  }

  /** `to`: the user who has just shown the password. The new nonce then counts as this user's. */
  private challenge(attempt: Attempt, stale: boolean, to?: string): SettledVerdict {
    const challenges = this.challenges(attempt, stale);
    if (to !== undefined) this.counts.grant(this.nonces.last, to);
    return { verdict: "challenge", challenges, stale };
  }

  private failed(attempt: Attempt, reason: string, what: string, isUnknown: boolean): Verdict {
    const { key, now, line, user = "" } = attempt;
    return this.refuse(attempt, reason, { lockOut: this.guesses?.failed(user, key, now, what, line), isUnknown });
  }

  private refuse(attempt: Attempt, reason: string, more?: Pick<Refusal, "lockOut" | "isUnknown">): Verdict {
    this.report(attempt, { reason, ...more });
    return { verdict: "refused", status: 401, reason, challenges: this.challenges(attempt, false) };
  }

  /** Refuses with 403: no other credentials would help. `user`: who has shown the password. */
  private forbid(attempt: Attempt, reason: string, user?: string): SettledVerdict {
    this.report(attempt, { reason });
    return { verdict: "refused", status: 403, reason, challenges: [], ...(user !== undefined && { user }) };
  }

  private wait(attempt: Attempt, waitMs: number): Verdict {
    const retryAfterS = Math.ceil(waitMs / 1000);
    this.report(attempt, { reason: "too many failures before", waitS: retryAfterS });
    return { verdict: "throttled", retryAfterS };
  }

  private report({ request, source, user }: Attempt, what: Omit<Refusal, "request" | "source" | "user">): void {
    // A password in From proves no address, as the answer to a nonce does.
    const mayBeForged = source.transport === "udp" && source.byProxy !== true && !request.headers.has("authorization");
    this.options.refused?.({ request, source, user, mayBeForged, ...what });
  }

  private challenges({ request, key, now }: Attempt, stale: boolean): string[] {
    const from = fromUri(request);
    const realm = this.realms.of(from?.host);
    const nonce = this.nonces.issue(now, key);
    const { offers } = this;
    const special = offers.to(request.headers.get("user-agent"));
    // RFC 8760 §2.4: a client answers the first challenge that it can. So if the user whom From names has a value for
    // one algorithm alone, only that one is of use, whatever the user agent is.
    const ha1 = from && this.directory.user(this.idIn(from))?.ha1;
    const algorithms =
      ha1 && lacksOne(ha1) ? (ifAny(special, ha1) ?? ifAny(offers.usual, ha1) ?? offers.usual) : special;
    return algorithms.map((algorithm) => formatChallenge({ realm, nonce, algorithm, stale }));
  }
}

const lacksOne = ({ sha256, md5 }: Ha1): boolean => sha256 === undefined || md5 === undefined;

/** Those of the algorithms that the values can check; undefined: none. */
function ifAny(algorithms: readonly Algorithm[], ha1: Ha1): readonly Algorithm[] | undefined {
  const checked = algorithms.filter((algorithm) => valueIn(ha1, algorithm) !== undefined);
  return checked.length > 0 ? checked : undefined;
}

const valueIn = ({ sha256, md5 }: Ha1, algorithm: Algorithm): string | undefined =>
  algorithm === "sha-256" ? sha256 : md5;

/** The value that checks a sign-in of that user in that realm; `withDomain`: as `alice@portal.com`. */
function ha1Of(user: User | undefined, realm: string, algorithm: Algorithm, withDomain = false): string | undefined {
  if (user === undefined || user.realm !== realm) return undefined;
  const values = withDomain ? user.ha1WithDomain : user.ha1;
  return values && valueIn(values, algorithm);
}

/** One sign-in on its way. */
class Attempt {
  readonly request: SipRequest;
  readonly source: SignInSource;
  readonly key: string;
  readonly now: number;
  /** The port. It tells clients behind one address apart. */
  readonly line: number;
  /** The id of the user whom the peer named, registered or not. */
  user: string | undefined = undefined;

  constructor(request: SipRequest, source: SignInSource, key: string, now: number) {
    this.request = request;
    this.source = source;
    this.key = key;
    this.now = now;
    this.line = source.remotePort ?? 0;
  }
}

/** User and password of the From URI, if it has both. */
function fromPassword(request: SipRequest): { user: string; host: string; password: string } | undefined {
  const uri = fromUri(request);
  if (uri?.user === undefined || uri.password === undefined) return undefined;
  return { user: unescaped(uri.user), host: uri.host, password: decodeUtf8(unescaped(uri.password)) };
}

function fromUri(request: SipRequest): SipUri | undefined {
  return sipUriOf(request.from?.uri ?? "");
}

/** RFC 3323 §4.1.1.3: a From of this host names nobody, on purpose. */
const ANONYMOUS_HOST = "anonymous.invalid";
const ANONYMOUS = /^(anonymous)?$/i;

const userOf = (uri: SipUri): string => unescaped(uri.user ?? "");
