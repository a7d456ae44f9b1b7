import type { Entry } from "../../src/charging/billing/store.ts";
import type { Ledger } from "./calls.ts";
import type { Platform } from "./nodes.ts";

/** What a run shows. */
export interface Report {
  readonly lines: readonly string[];
  /** What is wrong; none: nothing. */
  readonly faults: readonly string[];
}

export interface Money {
  readonly answered: number;
  readonly billed: number;
  readonly answeredSum: number;
  readonly billedSum: number;
  readonly sessions: number;
  readonly billedSessions: number;
  readonly overspent: readonly string[];
  readonly faults: readonly string[];
  /** Something of them was promised that is not on a bill. */
  readonly unbilled: ReadonlySet<string>;
}

const MICROS = 1_000_000;
const micros = (decimal: string): number => Math.round(Number(decimal) * MICROS);
export const euros = (amount: number): string => (amount / MICROS).toFixed(2);
/** Twice `credit.intervalS` and `graceS`, and some. */
const HOLDS_END_MS = 40_000;
/**
 * A session's time on the bill may differ so much from what its ends saw: a request may have been sent several times.
 */
const MOST_OFF_MS = 35_000;

/** Compares what was promised with what is on the bills. */
export async function compare(
  ledger: Ledger,
  platform: Pick<Platform, "entries" | "balance">,
  users: {
    readonly postpaid: readonly string[];
    readonly prepaid: readonly string[];
    readonly balanceOf: (user: string) => string;
  },
): Promise<Money> {
  const faults: string[] = [];
  const unbilled = new Set<string>();
  const overspent: string[] = [];
  const charges = new Map(ledger.charges.map((charge) => [charge.id, charge]));
  const billed = new Map<string, Entry>();
  const times = new Map<string, number>();
  let billedSum = 0;
  for (const user of [...users.postpaid, ...users.prepaid]) {
    let spent = 0;
    for (const entry of await platform.entries(user)) {
      spent += micros(entry.amount);
      if (entry.kind === "time") {
        times.set(entry.session, (times.get(entry.session) ?? 0) + 1);
        const call = ledger.sessions.get(entry.session);
        if (!call)
          faults.push(`a session on the bill of ${user} that no app server served: ${entry.session}, ${entry.endedBy}`);
        else if (call.session === entry.session && !call.twice)
          faults.push(...offBy(entry.durationMs, call.ackedAt, call.clientOverAt, entry));
        continue;
      }
      if (entry.kind !== "item") continue;
      const id = [...entry.id.split(":")].at(-1)!;
      const charge = charges.get(id);
      if (billed.has(id)) faults.push(`charged twice: ${entry.id}`);
      billed.set(id, entry);
      if (!charge) faults.push(`a charge that nobody asked for: ${entry.id}`);
      else if (charge.state === "refused") faults.push(`refused, and on the bill: ${entry.id}`);
      else if (micros(charge.price) !== micros(entry.amount))
        faults.push(`asked ${charge.price}, billed ${entry.amount}: ${entry.id}`);
      if (charge?.state === "answered") billedSum += micros(entry.amount);
    }
    if (users.prepaid.includes(user)) {
      const { available, holds } = await withoutHolds(platform, user);
      const had = users.balanceOf(user);
      if (spent > micros(had)) overspent.push(`${user} spent ${euros(spent)} of ${had}`);
      if (available < 0) overspent.push(`${user} has ${euros(available)} left`);
      if (holds > 0) faults.push(`${user} has ${holds} holds left`);
    }
  }
  const answered = ledger.charges.filter(({ state }) => state === "answered");
  for (const { id, call } of answered) {
    if (billed.has(id)) continue;
    faults.push(`answered, and not on the bill: ${id} of ${call.session}`);
    if (call.session !== undefined) unbilled.add(call.session);
  }
  for (const [session, call] of ledger.sessions) {
    const many = times.get(session) ?? 0;
    // A BYE that comes before the ACK brings the ACK with it: nothing was served yet (M12).
    const atOnce = (call.serverOverAt ?? Number.POSITIVE_INFINITY) - (call.confirmedAt ?? 0) < 200;
    if (many === 0 && !atOnce && !call.twice && (call.ackedAt !== undefined || session === call.session)) {
      faults.push(`no time on the bill: ${session} of ${JSON.stringify(call)}`);
      unbilled.add(session);
    }
    if (many > 1) faults.push(`time ${many} times on the bill: ${session}`);
  }
  return {
    ...{ overspent, faults, unbilled },
    answered: answered.length,
    billed: answered.filter(({ id }) => billed.has(id)).length,
    answeredSum: answered.reduce((sum, { price }) => sum + micros(price), 0),
    billedSum,
    sessions: ledger.sessions.size,
    billedSessions: times.size,
  };
}

/** A hold that a dead node had taken for a call in set-up is given back when it has not been renewed for a while. */
async function withoutHolds({ balance }: Pick<Platform, "balance">, user: string): ReturnType<Platform["balance"]> {
  const until = Date.now() + HOLDS_END_MS;
  for (;;) {
    const found = await balance(user);
    if (found.holds === 0 || Date.now() > until) return found;
    await new Promise((resolve) => setTimeout(resolve, 500));
  }
}

function offBy(durationMs: number, from: number | undefined, to: number | undefined, { session, id }: Entry): string[] {
  if (from === undefined || to === undefined) return [];
  const off = durationMs - (to - from);
  return Math.abs(off) > MOST_OFF_MS ? [`time on the bill is off by ${off} ms: ${session} (${id})`] : [];
}

export function percentile(values: readonly number[], percent: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor((sorted.length * percent) / 100))] ?? 0;
}
