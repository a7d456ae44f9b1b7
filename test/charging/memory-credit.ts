import {
  isSameEntry,
  overdueHolds,
  postIn,
  releaseIn,
  reserveIn,
  type Step,
  settleIn,
  withTerms,
} from "../../src/charging/credit/account.ts";
import {
  type CreditAccount,
  type CreditStore,
  type CreditTerms,
  type Hold,
  type LedgerEntry,
  micros,
  type ReserveRequest,
  type Settlement,
} from "../../src/charging/credit/store.ts";
import { money } from "../../src/charging/money/money.ts";
import { err, ok } from "../../src/support/result.ts";

/** Balances in memory, with what a test wants to go wrong. */
export class MemoryCredit implements CreditStore {
  readonly accounts = new Map<string, CreditAccount>();
  readonly entries: LedgerEntry[] = [];
  readonly asked: ReserveRequest[] = [];
  /** Every call waits for it; may throw. */
  before: () => Promise<void> = async () => {};
  /** The least that any balance was. */
  lowest = 0;

  async account(user: string) {
    return this.accounts.get(user);
  }

  async open(user: string, currency: string) {
    if (this.accounts.has(user)) return false;
    this.accounts.set(user, { user, currency, available: 0, holds: {} });
    return true;
  }

  async setTerms(user: string, terms: CreditTerms) {
    const account = this.accounts.get(user);
    if (account) this.accounts.set(user, withTerms(account, terms));
    return account !== undefined;
  }

  async reserve(request: ReserveRequest) {
    this.asked.push(request);
    await this.before();
    const account = this.accounts.get(request.user);
    if (!account) return err({ why: "no account" } as const);
    const reserved = reserveIn(account, request);
    if (!reserved.ok) return reserved;
    this.write({ account: reserved.value.account, entries: [] });
    return ok(reserved.value.held);
  }

  async settle(settlement: Settlement) {
    await this.before();
    const account = this.accounts.get(settlement.user);
    if (!account) return;
    this.write(
      settleIn(
        account,
        settlement,
        this.entries.filter(({ hold }) => hold === settlement.hold),
      ),
    );
  }

  async overdue(now: number) {
    const accounts = [...this.accounts.values()];
    return { accounts: accounts.filter((account) => Object.keys(overdueHolds(account, now)).length > 0) };
  }

  async release(user: string, seen: Readonly<Record<string, Hold>>) {
    const account = this.accounts.get(user);
    const step = account && releaseIn(account, seen);
    this.write(step);
    return step !== undefined;
  }

  async post(entry: LedgerEntry) {
    await this.before();
    const account = this.accounts.get(entry.user);
    if (!account) return "no account";
    const before = this.entries.find(({ user, id }) => user === entry.user && id === entry.id);
    if (before) return isSameEntry(before, entry) ? "repeated" : "different";
    this.write(postIn(account, entry));
    return "posted";
  }

  async ledger(
    user: string,
    { from = 0, to = Number.MAX_VALUE }: { from?: number | undefined; to?: number | undefined },
  ) {
    return { entries: this.entries.filter((entry) => entry.user === user && entry.at >= from && entry.at < to) };
  }

  private write(step: Step | undefined): void {
    if (!step) return;
    this.accounts.set(step.account.user, step.account);
    this.entries.push(...step.entries);
    this.lowest = Math.min(this.lowest, step.account.available);
  }

  /** A balance of so much; opens the account. */
  async pay(user: string, amount: string, currency = "EUR"): Promise<void> {
    await this.open(user, currency);
    const id = `topup:${this.entries.length}`;
    await this.post({ user, id, at: 0, kind: "topup", amount: micros(money(amount, currency)), currency });
  }

  /** What is free, in units. */
  available(user = "alice"): number {
    return this.accounts.get(user)!.available / 1e6;
  }

  /** What is held, in units, in the order in which it was first held. */
  held(user = "alice"): number[] {
    return Object.values(this.accounts.get(user)!.holds).map(({ amount }) => amount / 1e6);
  }
}
