import type { Charge } from "../events/charge-fields.ts";
import { chargeProblem } from "../events/charge-fields.ts";
import { taxesCheck } from "../events/event-fields.ts";
import type { ChargeMade } from "../events/events.ts";
import {
  type Check,
  count,
  currency,
  decimal,
  duration,
  fields,
  isMissing,
  list,
  oneOf,
  optional,
  textUpTo,
  time,
} from "../events/field-checks.ts";
import type { TariffUse } from "../money/tariff.ts";
import type { AppliedTax } from "../money/terms.ts";

/*
 * The books of sessions as data, so that they outlive a process: what was charged, and what earlier parts of the call
 * were charged and used.
 */

/** A charge, with the taxes and the time on its line of the bill. */
export interface ChargeState extends Charge {
  readonly at: number;
  readonly taxes?: readonly AppliedTax[];
}

/** As the event of the charge has it. */
export const chargeStateOf = ({ charge, at, session: { terms } }: ChargeMade): ChargeState => ({
  ...charge,
  at,
  ...(terms?.taxes && { taxes: terms.taxes }),
});

export interface BookState {
  readonly made: readonly ChargeState[];
  /** How many bodies were refused so far. */
  readonly refusals: number;
  /** What the same app server has charged in earlier parts of the call, the last part first (M20). */
  readonly before?: readonly PartBookState[];
}

export interface PartBookState {
  readonly session: string;
  readonly service: string;
  readonly made: readonly ChargeState[];
}

/** What the session shares with others of its call (M20-M24). */
export interface PartsState {
  /** Sessions of the call that run beside this one. */
  readonly beside: readonly string[];
  /** What was charged in sessions that are over, for limits. */
  readonly ended: readonly CallSum[];
  /** What the parts of the call have used of each tariff. */
  readonly tariffs: readonly UsedTariff[];
  readonly isPart: IsPart;
  /**
   * What earlier parts of the call cost, for advice of charge. Missing: nothing, or the state is from an older relay.
   */
  readonly costs?: readonly PartCost[];
}

/** The sum of prices that have the same taxes. */
export interface PartCost {
  readonly currency: string;
  readonly amount: string;
  readonly taxes?: readonly AppliedTax[];
}

/** Whether this session has begun, and ended, as a part of its call. */
export type IsPart = "not yet" | "running" | "over";

export interface CallSum {
  readonly service: string;
  readonly currency: string;
  readonly amount: string;
  readonly count: number;
}

export interface UsedTariff extends TariffUse {
  readonly tariff: string;
  readonly currency: string;
}

const NAME = textUpTo(400);
const MOST_CHARGES = 100_000;
const MOST_PARTS = 10_000;
const most = count(Number.MAX_SAFE_INTEGER);
/** Sums have more digits than their amounts. */
const sum = decimal(24, 12);

const beside = fields<Omit<ChargeState, keyof Charge>>({ at: time, taxes: optional(taxesCheck) });
const charge: Check = (value) => {
  const problem = isMissing(value) ?? beside(value);
  if (problem !== undefined) return problem;
  const wrong = chargeProblem(value as object);
  return wrong === undefined ? undefined : `.${wrong}`;
};
const made = list(charge, MOST_CHARGES);

export const bookCheck: Check = fields<BookState>({
  made,
  refusals: most,
  before: optional(list(fields<PartBookState>({ session: NAME, service: NAME, made }), MOST_PARTS)),
});

export const partsCheck: Check = fields<PartsState>({
  beside: list(NAME, MOST_PARTS),
  ended: list(fields<CallSum>({ service: NAME, currency, amount: sum, count: most }), MOST_PARTS),
  tariffs: list(
    fields<UsedTariff>({ tariff: NAME, currency, freeMs: duration, chargedMs: duration, amount: sum }),
    MOST_PARTS,
  ),
  isPart: oneOf("not yet", "running", "over"),
  costs: optional(list(fields<PartCost>({ currency, amount: sum, taxes: optional(taxesCheck) }), MOST_PARTS)),
});
