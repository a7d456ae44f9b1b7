import type { Context } from "hono";
import type { ApiToken } from "../directory/types.ts";
import { REFUSED } from "../node/sign-in-log.ts";
import type { Caller } from "../operations/context.ts";
import { isGood, splitToken } from "../operations/tokens.ts";
import type { Clock } from "../support/clock.ts";
import { type PeerLog, shown } from "../support/peer-log.ts";
import { err, ok, type Result } from "../support/result.ts";
import { sourceKey } from "../support/source.ts";
import { SourceRates } from "../support/source-rates.ts";
import { type Env, sourceOf } from "./http.ts";
import { type Answer, problem } from "./problem.ts";

const MAX_AUTHORIZATION = 512;
const FAILURES_PER_SECOND = 10;
const RETRY_SOON = { "Retry-After": "1" };
const CHALLENGE = { "WWW-Authenticate": 'Bearer realm="tollgate"' }; // RFC 6750 §3
const LOOPBACK_HOST = /^(localhost|127\.\d{1,3}\.\d{1,3}\.\d{1,3}|\[::1\])(:\d{1,5})?$/i;

export interface ApiSignInOptions {
  readonly token: (name: string) => ApiToken | undefined;
  /** Whoever asks from this machine may look without a token. */
  readonly loopbackReads: boolean;
  readonly clock: Clock;
  readonly peerLog: PeerLog;
}

/**
 * Says who asks by HTTP: by `Authorization: Bearer <name>.<secret>` (RFC 6750 §2.1), and by nothing else. There are no
 * cookies, so no other site's page can make a browser ask in somebody's name. Whoever opens the socket owns the data
 * folder. Nobody guesses a secret of 256 random bits; so a good token never waits, whatever others try.
 */
export class ApiSignIn {
  private readonly options: ApiSignInOptions;
  private readonly failures = new SourceRates(FAILURES_PER_SECOND);

  constructor(options: ApiSignInOptions) {
    this.options = options;
  }

  caller(c: Context<Env>): Result<Caller, Answer> {
    if (c.env.door === "socket") return ok({ name: "owner", role: "owner", from: "socket" });
    const { address, port, isLocal } = sourceOf(c);
    const authorization = c.req.header("authorization");
    if (isFromElsewhere(c)) return err(problem("origin"));
    if (authorization !== undefined) return this.byToken(authorization.slice(0, MAX_AUTHORIZATION), address, port);
    // A name that leads to this machine by a stranger's DNS is not this machine's name.
    if (this.options.loopbackReads && isLocal && LOOPBACK_HOST.test(c.req.header("host") ?? ""))
      return ok({ name: "loopback", role: "loopback", from: address });
    return err(problem("sign-in", undefined, { headers: CHALLENGE }));
  }

  private byToken(authorization: string, address: string, port: number | undefined): Result<Caller, Answer> {
    const { clock, token } = this.options;
    const given = /^Bearer +(\S+) *$/i.exec(authorization)?.[1];
    const { name = "", secret = "" } = (given && splitToken(given)) || {};
    const known = token(name);
    if (isGood(known, secret, clock.wall()))
      return ok({ name, role: known.role, from: address, expiresAt: known.expiresAt });
    return err(this.refused(address, port, name));
  }

  private refused(address: string, port: number | undefined, name: string): Answer {
    const { clock, peerLog } = this.options;
    const from = sourceKey(address);
    const why = "unknown, revoked or expired token";
    peerLog.info(REFUSED.token, from, { address, port, transport: "http", token: shown(name, 64), why });
    if (!this.failures.take(from, clock.monotonic()))
      return problem("too-many", "too many failed sign-ins", { headers: RETRY_SOON });
    return problem("sign-in", why, { headers: CHALLENGE });
  }
}

/** Whether a page of another site asks: by Origin (RFC 6454 §7), or as the browser says (Fetch Metadata). */
function isFromElsewhere(c: Context<Env>): boolean {
  const origin = c.req.header("origin");
  const site = c.req.header("sec-fetch-site");
  if (site !== undefined && site !== "same-origin" && site !== "none") return true;
  return origin !== undefined && origin.replace(/^https?:\/\//i, "").toLowerCase() !== hostOf(c);
}

const hostOf = (c: Context<Env>): string => (c.req.header("host") ?? "").toLowerCase();
