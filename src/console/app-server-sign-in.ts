import { chargesRealm, isSecretOf } from "../directory/app-server-keys.ts";
import type { ApiToken, AppServerKey } from "../directory/types.ts";
import { REFUSED } from "../node/sign-in-log.ts";
import { isGood } from "../operations/tokens.ts";
import type { Clock } from "../support/clock.ts";
import { type PeerLog, shown } from "../support/peer-log.ts";
import { err, ok, type Result } from "../support/result.ts";
import { sourceKey } from "../support/source.ts";
import { SourceRates } from "../support/source-rates.ts";
import { type Answer, problem } from "./problem.ts";

const MAX_AUTHORIZATION = 1_024;
/** How many refusals in a second say what is wrong, for one source and for one key. */
const FAILURES_PER_SECOND = 10;
const RETRY_SOON = { "Retry-After": "1" };

/** Where a report comes from. */
export interface ReportSource {
  /** An address; for NATS, the name that stands in its place. */
  readonly source: string;
  readonly port?: number | undefined;
  readonly by: "http" | "nats";
}

/** Where app servers' keys are, and tokens with the role `app-server`. */
export interface SecretsOfAppServers {
  appServerKey(id: string): AppServerKey | undefined;
  token?(name: string): ApiToken | undefined;
}

/**
 * Signs app servers in by their keys: `Bearer <key>.<secret>` (RFC 6750) or Basic (RFC 7617) with the key as user and
 * the secret as password. Nobody guesses a secret of 256 random bits. So an app server with the right secret never has
 * to wait, whatever others try from the same address.
 */
export class AppServerSignIn {
  private readonly keys: SecretsOfAppServers;
  private readonly clock: Pick<Clock, "monotonic"> & Partial<Pick<Clock, "wall">>;
  private readonly peerLog: PeerLog | undefined;
  private readonly challenge: string;
  private readonly failures = new SourceRates(FAILURES_PER_SECOND);

  constructor(options: {
    readonly keys: SecretsOfAppServers;
    readonly portalRealm: string;
    readonly clock: Pick<Clock, "monotonic"> & Partial<Pick<Clock, "wall">>;
    readonly peerLog?: PeerLog;
  }) {
    this.keys = options.keys;
    this.clock = options.clock;
    this.peerLog = options.peerLog;
    const realm = chargesRealm(options.portalRealm);
    this.challenge = `Bearer realm="${realm}", Basic realm="${realm}", charset="UTF-8"`;
  }

  /** The app server's id, or the answer to a failed sign-in. */
  signIn(authorization: string | undefined, from: ReportSource): Result<string, Answer> {
    if (authorization === undefined) return err(this.refused(from, undefined));
    const given = credentials(authorization.slice(0, MAX_AUTHORIZATION));
    const token = given && this.keys.token?.(given.id);
    if (given && token?.appServer !== undefined && isGood(token, given.secret, this.clock.wall?.() ?? 0))
      return ok(token.appServer);
    const key = given && this.keys.appServerKey(given.id);
    const known = isSecretOf(key, given?.secret ?? "");
    return key && known ? ok(key.appServer) : err(this.refused(from, given?.id ?? "", key?.id));
  }

  /** `named`: the key's id as it was sent; undefined: no credentials. `key`: the registered key, if there is one. */
  private refused({ source, port, by }: ReportSource, named: string | undefined, key?: string): Answer {
    const now = this.clock.monotonic();
    const from = sourceKey(source);
    const mayAsk = this.failures.take(from, now) && (key === undefined || this.failures.take(`key ${key}`, now));
    if (named !== undefined) {
      const why = "unknown key or wrong secret";
      this.peerLog?.info(REFUSED.appServer, from, { address: source, port, transport: by, key: shown(named), why });
    }
    if (!mayAsk) return problem("too-many", "too many failed sign-ins", { headers: RETRY_SOON });
    const headers = { "WWW-Authenticate": this.challenge }; // RFC 9110 §15.5.2
    return problem("unauthorized", named === undefined ? undefined : "unknown key or wrong secret", { headers });
  }
}

function credentials(authorization: string): { id: string; secret: string } | undefined {
  const [scheme = "", value = ""] = authorization.trim().split(/ +/, 2);
  const isBasic = scheme.toLowerCase() === "basic";
  if (!isBasic && scheme.toLowerCase() !== "bearer") return undefined;
  const text = isBasic ? Buffer.from(value, "base64").toString("utf8") : value;
  const at = text.indexOf(isBasic ? ":" : ".");
  return at < 0 ? undefined : { id: text.slice(0, at), secret: text.slice(at + 1) };
}
