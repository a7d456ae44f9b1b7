import type { Context, Hono } from "hono";
import { OPERATIONS } from "../operations/all.ts";
import type { Caller, OperationContext } from "../operations/context.ts";
import { type Mistake, mistakeText, OperationError } from "../operations/mistake.ts";
import { type AnyOperation, fieldsOf, fromText, isInQuery, namesIn } from "../operations/operation.ts";
import { type Audit, perform } from "../operations/perform.ts";
import { mayDo, type Right } from "../operations/rights.ts";
import type { Clock } from "../support/clock.ts";
import { SourceRates } from "../support/source-rates.ts";
import type { ApiSignIn } from "./api-sign-in.ts";
import { answered, bodyOf, type Env } from "./http.ts";
import { type Answer, type ProblemKind, problem } from "./problem.ts";

const MAX_BODY_BYTES = 65_536;
/** Operations that are done at once: each may read much of the store. */
const UNDER_WAY = 32;
const UNDER_WAY_PER_CALLER = 16;
const RETRY_SOON = { "Retry-After": "1" };

const KINDS: Readonly<Record<Mistake, ProblemKind>> = { usage: "input", unknown: "no-such", refused: "refused" };

export interface OperationRoutesOptions {
  readonly signIn: ApiSignIn;
  readonly audit: Audit;
  readonly clock: Pick<Clock, "monotonic">;
  /** Requests of one caller in a second; 0: no bound. */
  readonly perSecond: number;
  /** What operations work on; undefined: the relay is not ready yet. */
  readonly context: (caller: Caller) => OperationContext | undefined;
}

/** A file as an operation's answer. */
export interface FileAnswer {
  readonly type: string;
  readonly name: string;
  readonly content: string | Buffer;
}

/** Lets callers in: signs them in, looks at their role, and bounds how much they ask for. */
export class OperationDesk {
  private readonly options: OperationRoutesOptions;
  private readonly rates: SourceRates;
  private readonly underWay = new Map<string, number>();
  private all = 0;

  constructor(options: OperationRoutesOptions) {
    this.options = options;
    this.rates = new SourceRates(options.perSecond);
  }

  /** Runs `work` for a caller who may do it; answers the others. */
  async admit(
    c: Context<Env>,
    right: Right,
    work: (context: OperationContext) => Promise<Response>,
  ): Promise<Response> {
    const { signIn, clock, context } = this.options;
    const signedIn = signIn.caller(c);
    if (!signedIn.ok) return answered(c, signedIn.error);
    const caller = signedIn.value;
    if (!mayDo(caller.role, right)) return answered(c, mayNot(caller));
    const who = `${caller.role} ${caller.name}`;
    const now = this.underWay.get(who) ?? 0;
    const isOwner = caller.role === "owner";
    if (!isOwner && (this.all >= UNDER_WAY || now >= UNDER_WAY_PER_CALLER || !this.rates.take(who, clock.monotonic())))
      return answered(c, problem("too-many", undefined, { headers: RETRY_SOON }));
    const on = context(caller);
    if (!on) return answered(c, problem("unavailable", "the relay is not ready yet", { headers: RETRY_SOON }));
    this.underWay.set(who, now + 1);
    this.all++;
    try {
      return await work(on);
    } finally {
      this.all--;
      const left = this.underWay.get(who)! - 1;
      if (left > 0) this.underWay.set(who, left);
      else this.underWay.delete(who);
    }
  }

  async perform(c: Context<Env>, operation: AnyOperation, context: OperationContext): Promise<Response> {
    try {
      const input = await inputOf(c, operation);
      const answer = await perform(operation, context, input, this.options.audit);
      if (!operation.file) return c.json(answer as object);
      const { type, name, content } = answer as FileAnswer;
      const headers = { "Content-Type": type, "Content-Disposition": `attachment; filename="${name}"` };
      return c.body(typeof content === "string" ? content : new Uint8Array(content), 200, headers);
    } catch (error) {
      if (error instanceof NotReadable) return answered(c, error.answer);
      if (error instanceof OperationError) return answered(c, problem(KINDS[error.mistake], mistakeText(error)));
      throw error;
    }
  }
}

/** A token that cannot do it needs another role; whoever has no token at all can sign in. */
function mayNot({ role }: Caller): Answer {
  if (role !== "loopback") return problem("role", `the role is ${role}`);
  const headers = { "WWW-Authenticate": 'Bearer realm="tollgate"' };
  return problem("sign-in", "without a token this machine may look, and no more", { headers });
}

/** Every operation at its path. */
export function addOperationRoutes(app: Hono<Env>, desk: OperationDesk): void {
  for (const operation of OPERATIONS)
    app.on(operation.method, honoPath(operation.path), (c) =>
      desk.admit(c, operation.right, (context) => desk.perform(c, operation, context)),
    );
  for (const path of new Set(OPERATIONS.map((one) => one.path))) {
    const methods = OPERATIONS.filter((one) => one.path === path).map(({ method }) => method);
    const headers = { Allow: methods.join(", ") };
    app.all(honoPath(path), (c) => answered(c, problem("method-not-allowed", undefined, { headers })));
  }
}

const honoPath = (path: string): string => path.replace(/\{(\w+)\}/g, ":$1");

class NotReadable extends Error {
  readonly answer: Answer;

  constructor(answer: Answer) {
    super();
    this.answer = answer;
  }
}

async function inputOf(c: Context<Env>, operation: AnyOperation): Promise<unknown> {
  const fields = fieldsOf(operation);
  const names = namesIn(operation.path);
  const inPath = names.map((name) => [name, fromText(fields[name], c.req.param(name) ?? "")]);
  const given = isInQuery(operation.method)
    ? Object.entries(c.req.query()).map(([name, text]) => [name, fromText(fields[name], text)])
    : Object.entries(await jsonOf(c, operation.bodyBytes ?? MAX_BODY_BYTES));
  for (const [name] of given)
    if (names.includes(name as string))
      throw new OperationError("usage", "it stands in the path", { field: `${name}` });
  return Object.fromEntries([...given, ...inPath]);
}

async function jsonOf(c: Context<Env>, maxBytes: number): Promise<object> {
  const type = (c.req.header("content-type") ?? "application/json").replace(/;.*/s, "").trim().toLowerCase();
  // Other types are those that a form of another site could send without being asked for leave.
  if (type !== "application/json") throw new NotReadable(problem("media-type", "the body must be application/json"));
  const body = await bodyOf(c, maxBytes);
  if (body === undefined) throw new NotReadable(problem("too-large"));
  if (body.length === 0) return {};
  let said: unknown;
  try {
    said = JSON.parse(body.toString("utf8"));
  } catch {
    throw new NotReadable(problem("malformed", "the body is not JSON"));
  }
  if (typeof said !== "object" || said === null || Array.isArray(said))
    throw new NotReadable(problem("malformed", "the body is no JSON object"));
  return said;
}
