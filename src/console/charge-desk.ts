import { parseDirectBody } from "../charging/charges/body.ts";
import type { Outcome } from "../charging/charges/book.ts";
import type { DirectCharges } from "../charging/charges/direct.ts";
import { chargesAsText } from "../charging/events/charge-fields.ts";
import type { SharedKeys } from "../cluster/shared-keys.ts";
import type { Clock } from "../support/clock.ts";
import { type RatesElsewhere, SourceRates } from "../support/source-rates.ts";
import type { AppServerSignIn, ReportSource } from "./app-server-sign-in.ts";
import { IdempotencyKeys, idempotencyKey } from "./idempotency.ts";
import { type Answer, problem } from "./problem.ts";

/** A report of charges outside of SIP (M17), by HTTP or NATS. */
export interface ChargeReport extends ReportSource {
  /** `Bearer ...` or `Basic ...`. */
  readonly authorization: string | undefined;
  readonly idempotencyKey: string | undefined;
  /** Reads the body; called when the sender has signed in. Undefined: the body is too large, or did not come. */
  body(): Promise<Buffer | undefined>;
}

export interface ChargeDeskOptions {
  readonly direct: Pick<DirectCharges, "charge" | "refuse">;
  readonly signIn: AppServerSignIn;
  readonly clock: Pick<Clock, "monotonic">;
  /** Requests of one app server in a second; 0: no bound. */
  readonly perSecond: number;
  /** What other nodes take of the same app servers; default: this node counts for itself. */
  readonly elsewhere?: RatesElsewhere | undefined;
  /** Where other nodes hear of Idempotency-Keys; default: there are no other nodes. */
  readonly keys?: Pick<SharedKeys, "used" | "heard"> | undefined;
}

/** Reports of one app server that are handled at once. They wait for the disk, and so do other app servers. */
const UNDER_WAY = 64;

const RETRY_SOON = { "Retry-After": "1" };
const RETRY_UNKNOWN = { "Retry-After": "5" };
const RETRY_LATER = { "Retry-After": "10" };

/** Answers reports of charges: checks the sign-in, reads the body, and asks the charging management. */
export class ChargeDesk {
  private readonly options: ChargeDeskOptions;
  private readonly appServers: SourceRates;
  private readonly underWay = new Map<string, number>();
  private readonly keys: IdempotencyKeys;

  constructor(options: ChargeDeskOptions) {
    this.options = options;
    this.appServers = new SourceRates(options.perSecond, options.elsewhere);
    this.keys = new IdempotencyKeys(options.keys);
  }

  /** Never rejects. */
  async answer(report: ChargeReport): Promise<Answer> {
    const { signIn, clock } = this.options;
    const signedIn = signIn.signIn(report.authorization, report);
    if (!signedIn.ok) return signedIn.error;
    const appServer = signedIn.value;
    const underWay = this.underWay.get(appServer) ?? 0;
    if (underWay >= UNDER_WAY || !this.appServers.take(appServer, clock.monotonic()))
      return problem("too-many", undefined, { headers: RETRY_SOON });
    this.underWay.set(appServer, underWay + 1);
    try {
      return await this.answerTo(appServer, report);
    } finally {
      const left = this.underWay.get(appServer)! - 1;
      if (left > 0) this.underWay.set(appServer, left);
      else this.underWay.delete(appServer);
    }
  }

  private async answerTo(appServer: string, report: ChargeReport): Promise<Answer> {
    const key = report.idempotencyKey === undefined ? undefined : idempotencyKey(report.idempotencyKey);
    if (report.idempotencyKey !== undefined && key === undefined)
      return problem("malformed", "Idempotency-Key must be text of 1 to 255 printable ASCII characters");
    const body = await report.body();
    if (body === undefined) return problem("too-large");
    const read = parseDirectBody(body);
    if (key === undefined) return this.charge(appServer, read);
    // The same charges may be written in another way when they come again.
    const said = read.ok ? `${read.value.session}\n${chargesAsText(read.value.charges)}` : body;
    const before = this.keys.use(appServer, key, said);
    if (before === "reused") return problem("key-reused");
    if (before) return before;
    const answer = await this.charge(appServer, read);
    this.keys.answered(appServer, key, answer);
    return answer;
  }

  private async charge(appServer: string, read: ReturnType<typeof parseDirectBody>): Promise<Answer> {
    const { direct } = this.options;
    if (!read.ok) {
      const { malformed, session, text } = read.error;
      if (malformed) return problem("malformed", text);
      if (session !== undefined) {
        const refused = await direct.refuse(appServer, session, { kind: "unreadable", text });
        return answerTo(refused, session, []);
      }
      return problem("unreadable", text);
    }
    const { session, charges } = read.value;
    const outcome = await direct.charge(appServer, { session, charges, channel: "direct" });
    return answerTo(
      outcome,
      session,
      charges.map(({ id }) => id),
    );
  }
}

/** A text that is the same for the same charges, however they are written. */
function answerTo(outcome: Outcome, session: string, charges: readonly string[]): Answer {
  switch (outcome.kind) {
    case "recorded":
      return { status: 200, contentType: "application/json", headers: {}, body: { session, charges } };
    case "failed":
      if (outcome.unknown)
        return problem(
          "unavailable",
          "what was charged so far cannot be known now: try again with the same charge ids",
          {
            headers: RETRY_UNKNOWN,
          },
        );
      return problem("unavailable", "try again with the same charge ids", { headers: RETRY_LATER });
    default: {
      const { kind, text, charge } = outcome.refusal;
      return problem(kind, text, { charge });
    }
  }
}
