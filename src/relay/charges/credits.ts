import type { Failure } from "../../../machines/events.ts";
import type { ForkMode, User } from "../../directory/types.ts";
import { err, ok, type Result } from "../../support/result.ts";
import type { Core, SessionPort as Session } from "../model/core.ts";
import type { CreditTerms } from "../model/ports.ts";
import { Credit } from "./credit.ts";

/**
 * Makes a separate hold for the next part of a prepaid session (M20-M24): the set-up fee and first interval of its own
 * tariff. The caller puts `terms.key` into the part's facts as `hold`. When the part begins, it calls `attach` and
 * `start`; when it does not, `close(false)`. The hold of the part before is settled when that part ends.
 */
export async function creditForNextPart(
  core: Core,
  first: Pick<Session, "user" | "facts" | "credit">,
  terms: Pick<CreditTerms, "used" | "tariff" | "taxes">,
): Promise<Result<Credit | undefined, Failure>> {
  const currency = prepaidIn(core, first.user, first);
  if (currency === undefined) return ok(undefined); // postpaid
  const credit = new Credit(core, { ...terms, user: first.facts.user, currency, key: core.random.token(96) });
  const failure = await credit.take();
  if (!failure) return ok(credit);
  void credit.close(false);
  return err(failure);
}

/**
 * The currency of the balance that pays; undefined: postpaid. Where there was a session before, its balance pays, even
 * if the user's name has another owner by now.
 */
export const prepaidIn = (core: Core, user: string, first: Pick<Session, "credit"> | undefined): string | undefined =>
  first?.credit?.terms.currency ?? currencyOf(core.directory.user(user));

/** Undefined: nothing is held for this user. */
const currencyOf = (user: User | undefined): string | undefined => (user?.prepaid ?? user?.postpaid)?.currency;

/**
 * The holds for the sessions that one prepaid request may lead to. Where one app server's answer decides (`sequential`,
 * `first`), there is one hold, for the app server that accepts. Where every answer counts (`all`), each app server has
 * a hold of its own. Only app servers for which there is credit are asked, and the hold of one that refuses is given
 * back.
 */
export class Credits {
  private readonly core: Core;
  private readonly terms: Omit<CreditTerms, "key">;
  private readonly id: string;
  private readonly takesEveryAnswer: boolean;
  /** By app server; under "" the one hold for all. A hold that was handed over or given back is not in it any more. */
  private readonly credits = new Map<string, Credit>();

  constructor(core: Core, terms: Omit<CreditTerms, "key">, id: string, fork: ForkMode) {
    this.core = core;
    this.terms = terms;
    this.id = id;
    this.takesEveryAnswer = fork === "all";
  }

  /** Takes the holds. Resolves to the app servers that may be asked, or to why none may. */
  async take(servers: readonly string[]): Promise<Result<readonly string[], Failure>> {
    if (!this.takesEveryAnswer) {
      const credit = this.add("", this.id);
      const failure = await credit.take();
      return failure ? err(failure) : ok(servers);
    }
    const failures = await Promise.all(servers.map((server) => this.add(server, this.core.random.token(96)).take()));
    const asked: string[] = [];
    for (const [i, server] of servers.entries()) {
      if (failures[i]) this.giveBack(server);
      else asked.push(server);
    }
    return asked.length > 0 ? ok(asked) : err(failures[0]!);
  }

  /** The taxes on time, as the holds count them. */
  get taxes(): CreditTerms["taxes"] {
    return this.terms.taxes;
  }

  /** The key of the hold for a session with this app server; it stands in the session's events. */
  keyFor(server: string): string | undefined {
    return this.of(server)?.terms.key;
  }

  /**
   * The app server has answered: from now on the hold is the session's. Undefined: another session of the same request
   * has it.
   */
  handOver(session: Session): Credit | undefined {
    const credit = this.of(session.appServer.id);
    if (!credit) return undefined;
    this.credits.delete(this.place(session.appServer.id));
    credit.attach(session);
    return credit;
  }

  /** This app server will not answer any more. */
  giveBack(server: string): void {
    if (!this.takesEveryAnswer) return; // the next app server uses the same hold
    void this.credits.get(server)?.close(false);
    this.credits.delete(server);
  }

  /** The request is over: gives back the holds that no session has. Resolves when that is done. */
  async close(): Promise<void> {
    const all = [...this.credits.values()];
    this.credits.clear();
    await Promise.allSettled(all.map((credit) => credit.close(false)));
  }

  private of(server: string): Credit | undefined {
    return this.credits.get(this.place(server));
  }

  private place(server: string): string {
    return this.takesEveryAnswer ? server : "";
  }

  private add(place: string, key: string): Credit {
    const credit = new Credit(this.core, { ...this.terms, key });
    this.credits.set(place, credit);
    return credit;
  }
}
