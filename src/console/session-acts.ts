import type { Context, Hono } from "hono";
import type { Acted, Action } from "../app-servers/app-servers.ts";
import { CHARGE_JSON, parseChargeBody } from "../charging/charges/body.ts";
import type { Config } from "../config/schema.ts";
import { idSchema } from "../config/terms.ts";
import type { Relay } from "../node/relay.ts";
import { sipUriOf } from "../sip/uri.ts";
import type { Clock } from "../support/clock.ts";
import type { PeerLog } from "../support/peer-log.ts";
import { err, ok, type Result } from "../support/result.ts";
import { SourceRates } from "../support/source-rates.ts";
import { AppServerSignIn, type SecretsOfAppServers } from "./app-server-sign-in.ts";
import { answered, bodyOf, type Env, sourceOf } from "./http.ts";
import { type Answer, problem } from "./problem.ts";

export interface SessionActsOptions extends Pick<Config, "http" | "portal"> {
  readonly act: Relay["act"];
  readonly keys: SecretsOfAppServers;
  readonly clock: Pick<Clock, "monotonic">;
  readonly peerLog: PeerLog;
}

const MAX_BODY_BYTES = 65_536;
/** Requests of one app server that are handled at once: a change may ring at the client. */
const UNDER_WAY = 256;
const RETRY_SOON = { "Retry-After": "1" };

/**
 * What an app server that speaks HTTP asks for in its sessions, where a SIP app server sends BYE, re-INVITE or REFER.
 */
export class SessionActs {
  private readonly options: SessionActsOptions;
  private readonly signIn: AppServerSignIn;
  private readonly rates: SourceRates;
  private readonly underWay = new Map<string, number>();

  constructor(options: SessionActsOptions) {
    this.options = options;
    const { keys, portal, clock, peerLog, http } = options;
    this.signIn = new AppServerSignIn({ keys, portalRealm: portal.realm, clock, peerLog });
    this.rates = new SourceRates(http.perSecond);
  }

  /** Never rejects. `body`: undefined where it is too large. */
  async answer(
    kind: Action["kind"],
    session: string,
    authorization: string | undefined,
    from: { readonly address: string; readonly port?: number | undefined },
    body: () => Promise<Buffer | undefined>,
  ): Promise<Answer> {
    const signedIn = this.signIn.signIn(authorization, { source: from.address, port: from.port, by: "http" });
    if (!signedIn.ok) return signedIn.error;
    const appServer = signedIn.value;
    const underWay = this.underWay.get(appServer) ?? 0;
    if (underWay >= UNDER_WAY || !this.rates.take(appServer, this.options.clock.monotonic()))
      return problem("too-many", undefined, { headers: RETRY_SOON });
    this.underWay.set(appServer, underWay + 1);
    try {
      const bytes = await body();
      if (bytes === undefined) return problem("too-large");
      const action = this.read(kind, bytes);
      if (!action.ok) return action.error;
      return answerTo(session, await this.options.act(appServer, session, action.value));
    } finally {
      const left = this.underWay.get(appServer)! - 1;
      if (left > 0) this.underWay.set(appServer, left);
      else this.underWay.delete(appServer);
    }
  }

  private read(kind: Action["kind"], bytes: Buffer): Result<Action, Answer> {
    const said = json(bytes);
    if (!said) return err(problem("malformed", "the body must be a JSON object"));
    if (kind === "end") return readEnd(said);
    if (kind === "change") return readChange(said);
    return readMove(said, this.options.portal.domains[0]!);
  }
}

type Said = Record<string, unknown>;

function readEnd({ charges }: Said): Result<Action, Answer> {
  if (charges === undefined) return ok({ kind: "end", charges: [] });
  const read = parseChargeBody(CHARGE_JSON, Buffer.from(JSON.stringify({ charges })));
  return read.ok ? ok({ kind: "end", charges: read.value }) : err(problem("unreadable", read.error));
}

const SERVICE_TYPE = "application/vnd.tollgate.service+xml";
const MEDIA_TYPE = /^[\w.+-]+\/[\w.+-]+(;[\x20-\x7e]*)?$/;

function readChange({ service, description }: Said): Result<Action, Answer> {
  if (description === undefined) {
    if (!idSchema.safeParse(service).success) return err(problem("malformed", "service must be the id of a service"));
    return ok({ kind: "change", wanted: { contentType: SERVICE_TYPE, content: `<service name="${service}"/>` } });
  }
  const { contentType, content } = isObject(description) ? description : {};
  if (typeof contentType !== "string" || !MEDIA_TYPE.test(contentType) || typeof content !== "string")
    return err(problem("malformed", "description must have contentType and content"));
  return ok({ kind: "change", wanted: { contentType, content } });
}

function readMove({ to, keep }: Said, domain: string): Result<Action, Answer> {
  const isId = idSchema.safeParse(to).success;
  const isUri = typeof to === "string" && !/[\s<>"]/.test(to) && sipUriOf(to) !== undefined;
  if (!isId && !isUri) return err(problem("malformed", "to must be the id of a service, or a SIP URI"));
  if (keep !== undefined && typeof keep !== "boolean") return err(problem("malformed", "keep must be true or false"));
  const uri = isId ? `sip:${to}@${domain}` : (to as string);
  return ok({ kind: "move", to: uri, ...(keep !== undefined && { keep }) });
}

function answerTo(session: string, acted: Acted): Answer {
  switch (acted.kind) {
    case "done": {
      const { session, service } = acted;
      const body = { session, ...(service !== undefined && { service }) };
      return { status: 200, contentType: "application/json", headers: {}, body };
    }
    case "unknown":
      return problem("unknown", `no session ${session.slice(0, 64)} is with this app server`);
    case "speaks SIP":
      return problem("speaks-sip");
    case "refused": {
      const { status, reason } = acted;
      const sip = { status, reason };
      const detail = `${status} ${reason}`;
      // RFC 3261 §12.2.1.2: the session is gone.
      if (status === 481) return problem("unknown", detail, { sip });
      return status >= 500 && status < 600
        ? problem("session-failed", detail, { sip, headers: RETRY_SOON })
        : problem("session-refused", detail, { sip });
    }
  }
}

const isObject = (value: unknown): value is Said =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/** An empty body stands for an object without members. */
function json(bytes: Buffer): Said | undefined {
  if (bytes.length === 0) return {};
  try {
    const read: unknown = JSON.parse(bytes.toString("utf8"));
    return isObject(read) ? read : undefined;
  } catch {
    return undefined;
  }
}

const KINDS: readonly Action["kind"][] = ["end", "change", "move"];

/** `POST /v1/sessions/{id}/end`, `/change` and `/move`, for app servers with a key. */
export function addSessionActs(app: Hono<Env>, acts: () => SessionActs | undefined): void {
  for (const kind of KINDS) {
    const path = `/v1/sessions/:id/${kind}`;
    app.post(path, async (c: Context<Env>) => {
      const desk = acts();
      if (!desk) return answered(c, problem("unavailable", "the relay is not ready yet", { headers: RETRY_SOON }));
      const body = () => bodyOf(c, MAX_BODY_BYTES);
      const authorization = c.req.header("authorization");
      return answered(c, await desk.answer(kind, c.req.param("id") ?? "", authorization, sourceOf(c), body));
    });
    app.all(path, (c) => answered(c, problem("method-not-allowed", undefined, { headers: { Allow: "POST" } })));
  }
}
