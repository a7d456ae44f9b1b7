import { isChargeType, parseChargeBody } from "../charging/charge-body.ts";
import { chargeAmount, checkCharge } from "../charging/check-charge.ts";
import { type Charge, chargeMade, sessionEnded, sessionStarted } from "../charging/events.ts";
import { add, type Money } from "../charging/money.ts";
import type { SipMessage } from "../sip/message.ts";
import type { ServerTransaction } from "../transaction/types.ts";
import type { Core } from "./core.ts";
import { reply } from "./reply.ts";
import type { Session } from "./session.ts";

/** Bound on what an app server may charge in one session, in number. */
const MAX_CHARGES = 1000;

/** A charge that was accepted; `written` until it is on disk. */
interface Made {
  readonly charge: Charge;
  written: Promise<void> | undefined;
}

/** A body's charges that may be made: those that are new, the sum with them, and those that came before and are not on disk yet. */
interface Checked {
  readonly ok: true;
  readonly fresh: readonly Charge[];
  readonly sum: Money | undefined;
  readonly underWay: readonly Promise<void>[];
}

/**
 * What a session costs, on its way to the record: start and end of its time (M12, M13), and what the app server charges
 * (M14, M16). Nothing is answered before it is on disk (DESIGN.md, decision 8).
 */
export class SessionCharges {
  private readonly core: Core;
  private readonly session: Session;
  /** Charges by their ids, to know a repetition and to know the same id with other terms. */
  private made: Map<string, Made> | undefined;
  private sum: Money | undefined;
  /** What is on its way to the disk; the answer to BYE waits for it. */
  private pending: Promise<void>[] = [];

  constructor(core: Core, session: Session) {
    this.core = core;
    this.session = session;
  }

  /** The clock runs since `at`. Rejects when that could not be put on record. */
  started(at: number): Promise<void> {
    return this.core.recorder.append(sessionStarted(this.session.facts, at)).catch((error) => {
      this.log("error", { err: error }, "the start of a session could not be put on record");
      throw error;
    });
  }

  /** The clock stopped. Resolves when the end, and everything charged before, is on disk. */
  async ended(startedAt: number, endedAt: number, endedBy: string): Promise<void> {
    const event = sessionEnded(this.session.facts, startedAt, endedAt, endedBy);
    const pending = this.pending;
    this.pending = [];
    try {
      if (pending.length > 0) await Promise.all(pending);
      await this.core.recorder.append(event);
    } catch (error) {
      // Whole, so that it can be entered by hand.
      this.log("error", { err: error, event }, "the end of a session could not be put on record");
      throw error;
    }
    if (this.core.log.isLevelEnabled("debug"))
      this.log("debug", { durationMs: event.durationMs, endedBy }, "session ended");
  }

  /** Resolves when everything charged so far is on disk; for a session whose clock never ran. */
  async settled(): Promise<void> {
    await Promise.all(this.pending.splice(0));
  }

  /** M14: charges in an INFO. Answers it: 200 when all are on record, 400 when they cannot be read, 403 when they may not be made. */
  take(transaction: ServerTransaction): void {
    const { request } = transaction;
    const charges = parseChargeBody(request.headers.get("content-type") ?? "", request.body);
    if (!charges.ok) {
      this.refused(charges.error);
      reply(transaction, 400, [warning(charges.error)], `Bad charge: ${charges.error}`);
      return;
    }
    const checked = this.check(charges.value);
    if (!checked.ok) {
      this.refused(checked.error);
      reply(transaction, 403, [warning(checked.error)], `Charge refused: ${checked.error}`);
      return;
    }
    this.record(checked, "info").then(
      () => reply(transaction, 200),
      (error) => {
        this.log("error", { err: error }, "a charge could not be put on record");
        reply(transaction, 500, [["Retry-After", "10"]], "The charge could not be put on record");
      },
    );
  }

  /** M16: charges in the body of the app server's 200 to BYE, or of its own BYE. Nobody can be told that they are bad: the log is. */
  collect(message: SipMessage): void {
    const type = message.headers.get("content-type");
    if (type === undefined || !isChargeType(type)) return;
    const charges = parseChargeBody(type, message.body);
    if (!charges.ok) {
      this.refused(charges.error, message.body.toString("utf8"));
      return;
    }
    const checked = this.check(charges.value);
    if (!checked.ok) {
      this.refused(checked.error, charges.value);
      return;
    }
    const recorded = this.record(checked, "bye");
    recorded.catch((error) =>
      this.log("error", { err: error, charges: checked.fresh }, "charges at the end could not be put on record"),
    );
    this.pending.push(recorded);
  }

  /** Resolves when all of a body's charges are on disk: also those that came before and are still on their way. */
  private record({ fresh, sum, underWay }: Checked, channel: "info" | "bye"): Promise<void> {
    const { core, session } = this;
    if (fresh.length === 0 && underWay.length === 0) return Promise.resolve();
    this.made ??= new Map();
    this.sum = sum;
    const at = core.clock.now();
    const written = fresh.map((charge) => core.recorder.append(chargeMade(session.facts, at, charge, channel)));
    core.counters.charges += fresh.length;
    const recorded = Promise.all(written.concat(underWay)).then(() => undefined);
    for (const [i, charge] of fresh.entries()) {
      const made: Made = { charge, written: written[i] };
      this.made.set(charge.id, made);
      written[i]!.then(
        () => {
          made.written = undefined;
        },
        () => this.forget(charge.id),
      );
    }
    return recorded;
  }

  /** A charge that did not reach the disk may be tried again with the same id, and counts for no limit. */
  private forget(id: string): void {
    this.made!.delete(id);
    this.sum = undefined;
    for (const { charge } of this.made!.values()) {
      const amount = chargeAmount(charge);
      this.sum = this.sum === undefined ? amount : add(this.sum, amount);
    }
  }

  /** All of a body's charges, or none: says which are new, and the sum with them. */
  private check(charges: readonly Charge[]): Checked | { ok: false; error: string } {
    const fresh: Charge[] = [];
    const underWay: Promise<void>[] = [];
    const terms = { tariffCurrency: this.session.facts.tariff?.currency, limits: this.session.service.limits };
    let sum = this.sum;
    for (const charge of charges) {
      const before = this.made?.get(charge.id);
      if (before) {
        if (before.written) underWay.push(before.written);
        if (sameCharge(before.charge, charge)) continue;
        return { ok: false, error: `charge ${charge.id} was made before with other terms` };
      }
      if ((this.made?.size ?? 0) + fresh.length >= MAX_CHARGES)
        return { ok: false, error: `more than ${MAX_CHARGES} charges in a session` };
      const result = checkCharge(charge, terms, sum);
      if (!result.ok) return { ok: false, error: `charge ${charge.id}: ${result.error}` };
      sum = result.value;
      fresh.push(charge);
    }
    return { ok: true, fresh, sum, underWay };
  }

  private refused(why: string, charges?: unknown): void {
    this.core.counters.chargesRefused++;
    this.log("warn", { why, ...(charges !== undefined && { charges }) }, "charge refused");
  }

  private log(level: "debug" | "warn" | "error", facts: object, text: string): void {
    const { call, id, user, service, appServer } = this.session.facts;
    this.core.log[level]({ call, session: id, user, service, appServer, ...facts }, text);
  }
}

/** RFC 3261 §20.43: 399 is for text that people read. */
const warning = (text: string) => ["Warning", `399 tollgate "${text.replace(/[^\x20-\x7e]|["\\]/g, "?")}"`] as const;

const sameCharge = (a: Charge, b: Charge): boolean =>
  a.item === b.item && a.unitPrice === b.unitPrice && a.quantity === b.quantity && a.currency === b.currency;
