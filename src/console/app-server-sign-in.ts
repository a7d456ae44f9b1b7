import { chargesRealm, isSecretOf } from "../directory/app-server-keys.ts";
import { sourceKey, Throttle, type ThrottleSettings } from "../directory/throttle.ts";
import type { AppServerKey } from "../directory/types.ts";
import type { Clock } from "../support/clock.ts";
import { err, ok, type Result } from "../support/result.ts";
import { type Answer, problem } from "./problem.ts";

const MAX_AUTHORIZATION = 1_024;

/** Signs app servers in by their keys: `Bearer <key>.<secret>` (RFC 6750) or Basic (RFC 7617) with the key as user and the secret as password. */
export class AppServerSignIn {
  private readonly keys: { appServerKey(id: string): AppServerKey | undefined };
  private readonly clock: Pick<Clock, "monotonic">;
  private readonly throttle: Throttle;
  private readonly challenge: string;

  constructor(options: {
    readonly keys: { appServerKey(id: string): AppServerKey | undefined };
    readonly portalRealm: string;
    readonly clock: Pick<Clock, "monotonic">;
    readonly throttle: ThrottleSettings;
  }) {
    this.keys = options.keys;
    this.clock = options.clock;
    this.throttle = new Throttle(options.throttle);
    const realm = chargesRealm(options.portalRealm);
    this.challenge = `Bearer realm="${realm}", Basic realm="${realm}", charset="UTF-8"`;
  }

  /** The app server's id, or the answer for who could not sign in. `source`: its address. */
  signIn(authorization: string | undefined, source: string): Result<string, Answer> {
    const now = this.clock.monotonic();
    const from = sourceKey(source);
    const waitMs = this.throttle.waitMs(from, now);
    if (waitMs > 0) {
      const headers = { "Retry-After": String(Math.ceil(waitMs / 1000)) };
      return err(problem("too-many", "too many failed sign-ins from this address", { headers }));
    }
    if (authorization === undefined) return err(this.unauthorized());
    const given = credentials(authorization.slice(0, MAX_AUTHORIZATION));
    const key = given && this.keys.appServerKey(given.id);
    const known = isSecretOf(key, given?.secret ?? "");
    if (key && known) return ok(key.appServer);
    this.throttle.failed(from, now);
    return err(this.unauthorized("unknown key or wrong secret"));
  }

  private unauthorized(detail?: string): Answer {
    return problem("unauthorized", detail, { headers: { "WWW-Authenticate": this.challenge } }); // RFC 9110 §15.5.2
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
