/** One call, as its two ends see it. */
export interface CallRecord {
  readonly number: number;
  readonly callId: string;
  readonly user: string;
  readonly prepaid: boolean;
  /** The relay's name for its session, as the app server heard it. */
  session?: string;
  /** The one that the app server was asked for last. */
  seen?: string;
  /** When the client sent its first ACK, and when it was over for the client. Milliseconds since 1970. */
  ackedAt?: number;
  clientOverAt?: number;
  /** When the app server got the ACK, and when it was over there. */
  confirmedAt?: number;
  serverOverAt?: number;
  /** Who has hung up by itself first. */
  hungUp?: "client" | "server";
  /** Two nodes have asked the app server for it: the client has ended one of the two at once. */
  twice?: boolean;
  /** Why the relay has ended it, from Reason in its BYE. */
  ended?: string;
  /** How often something odd was answered in it. */
  odd?: number;
  /** What should not have happened to it. */
  lost?: string;
}

/** A charge that the app server has asked for. */
export interface ChargeRecord {
  readonly id: string;
  readonly call: CallRecord;
  /** Decimal, EUR. */
  readonly price: string;
  /** `answered`: with 200, so it must be on the bill. `refused`: it must not be. `open`: nobody knows. */
  state: "open" | "answered" | "refused";
}

/** A round trip that took long, for the report. */
export interface Wait {
  readonly ms: number;
  readonly what: string;
  readonly at: number;
}

/** All that the ends of a run have seen. */
export class Ledger {
  readonly calls: CallRecord[] = [];
  readonly charges: ChargeRecord[] = [];
  /** The sessions that the app server has served, by the relay's name for them. */
  readonly sessions = new Map<string, CallRecord>();
  readonly waits: Wait[] = [];
  offered = 0;
  /** Calls that did not come to a session, by their status or what else became of them. */
  readonly failed = new Map<string, number>();
  /** 2xx of a second node to one INVITE, which the client ended at once. */
  surplus = 0;
  /** Answers to requests within a session that were neither 200 nor the session's end. */
  readonly odd = new Map<string, number>();

  call(of: Pick<CallRecord, "callId" | "user" | "prepaid">): CallRecord {
    const record: CallRecord = { number: this.calls.length, ...of };
    this.calls.push(record);
    return record;
  }

  count(where: "failed" | "odd", what: string | number, call?: CallRecord): void {
    this[where].set(String(what), (this[where].get(String(what)) ?? 0) + 1);
    if (call) call.odd = (call.odd ?? 0) + 1;
  }

  waited(what: string, since: number): void {
    this.waits.push({ ms: Date.now() - since, what, at: since });
  }

  /** The relay's side of a session is gone, though nobody has hung up. */
  lose(call: CallRecord, why: string): void {
    if (call.hungUp !== undefined || call.ended !== undefined) return;
    call.lost ??= `${timeOf(Date.now())} ${why}`;
  }
}

/** The time of day, as the nodes' logs can be searched for it. */
export const timeOf = (ms: number): string => new Date(ms).toISOString().slice(11, 23);

/** What BYE from the relay itself says that is as it should be. */
const RIGHT_ENDS = [/credit exhausted/];

/** One end got BYE: `reason` is its Reason header, which a relay's own BYE has. */
export function hungUpBy(ledger: Ledger, call: CallRecord, reason: string | undefined, end: string): void {
  if (reason === undefined) {
    if (call.twice && end !== "client") return;
    if (call.hungUp === undefined && call.ended === undefined) ledger.lose(call, `${end}: BYE, and nobody hung up`);
    return;
  }
  // A second node was asked with the same INVITE, and its answer came after the first one's: that is no session of the
  // client, whose own end says what becomes of the other one.
  if (end !== "client" && /answer came too late/.test(reason)) {
    ledger.surplus++;
    return;
  }
  if (!RIGHT_ENDS.some((right) => right.test(reason))) ledger.lose(call, `${end}: BYE, ${reason}`);
  call.ended ??= reason;
}
