import type { BillingContext } from "../../machines/billing.ts";
import type { Account, AccountState, CorrectionEntry, Entry, ItemEntry, TimeEntry } from "../charging/billing/store.ts";
import { endedId } from "../charging/events/events.ts";
import type { Terms } from "../charging/money/terms.ts";

/*
 * How accounts and entries are stored in LMDB: as JSON arrays of values, without names, and without what the key says
 * already. When a session is over, the entry for its time says most of what its account says. The rest of the account
 * is then stored with that entry. This saves one record for each session.
 */

/** The revision stands first, so that it can be read without the rest. */
export type AccountForm = [
  revision: number,
  state: AccountState,
  dueAt: number | null,
  user: string,
  service: string,
  appServer: string,
  call: string,
  windowMs: number,
  startedAt: number | null,
  endedAt: number | null,
  endedBy: string | null,
  tariff: BillingContext["tariff"],
  hold?: string | null,
  previous?: BillingContext["previous"] | null,
  terms?: Terms | null,
  clockStepMs?: number | null,
  used?: BillingContext["used"] | null,
];

export function accountForm({ state, context }: Account, revision: number): AccountForm {
  const { dueAt, user, service, appServer, call, windowMs, startedAt, endedAt, endedBy, tariff } = context;
  const form: AccountForm = [
    revision,
    state,
    dueAt,
    user,
    service,
    appServer,
    call,
    windowMs,
    startedAt,
    endedAt,
    endedBy,
    tariff,
  ];
  const { hold, previous, terms, clockStepMs, used } = context;
  const rare = [hold, previous, terms, clockStepMs, used] as const;
  const last = rare.findLastIndex((one) => one !== undefined);
  for (let i = 0; i <= last; i++) form.push((rare[i] ?? null) as never);
  return form;
}

export function accountOf(session: string, form: AccountForm): Account {
  const [revision, state, dueAt, user, service, appServer, call, windowMs, startedAt, endedAt, endedBy, tariff] = form;
  const [, , , , , , , , , , , , hold, previous, terms, clockStepMs, used] = form;
  return {
    revision,
    state,
    context: {
      version: 1,
      session,
      user,
      service,
      appServer,
      call,
      windowMs,
      ...(hold != null && { hold }),
      ...(previous != null && { previous }),
      tariff,
      ...(used != null && { used }),
      ...(terms != null && { terms }),
      ...(clockStepMs != null && { clockStepMs }),
      startedAt,
      endedAt,
      endedBy,
      dueAt,
    },
  };
}

type BaseForm<Kind extends Entry["kind"]> = [
  kind: Kind,
  at: number,
  month: string,
  user: string,
  service: string,
  appServer: string,
  /** The session's id; or only its length, if the entry's id begins with it. */
  session: string | number,
  call: string | null,
  previous: Entry["previous"] | null,
  currency: string,
  amount: string,
];
type TimeForm = [
  ...BaseForm<"time">,
  durationMs: number,
  endedBy: string,
  tariff: string | null,
  account?: AccountRest | null,
  ...more: More,
];
/** The part of a session's account that the entry for its time does not say. */
export type AccountRest = [
  revision: number,
  state: AccountState,
  dueAt: number | null,
  windowMs: number,
  endedAt: number | null,
  hold?: string,
];
const REST = 14;
/** For any kind of entry that has terms or is prepaid. */
type More = [terms?: Terms | null, prepaid?: 1];
const MORE = 15;
type ItemForm = [...BaseForm<"item">, item: string, unitPrice: string, quantity: string, channel: string, ...More];
type CorrectionForm = [
  ...BaseForm<"correction">,
  reason: string,
  of: CorrectionEntry["of"],
  corrects: CorrectionEntry["corrects"] | null,
  unused?: null,
  ...more: More,
];
export type EntryForm = TimeForm | ItemForm | CorrectionForm;

/** `rest`: the rest of the session's account, if the entry is the one for the session's time. */
export function entryForm(entry: Entry, rest?: AccountRest): EntryForm {
  const { id, kind, at, month, user, service, appServer, call = null, previous = null, currency, amount } = entry;
  const session = id.startsWith(entry.session) ? entry.session.length : entry.session;
  const base: unknown[] = [kind, at, month, user, service, appServer, session, call, previous, currency, amount];
  if (kind === "time") base.push(entry.durationMs, entry.endedBy, entry.tariff ?? null);
  else if (kind === "item") base.push(entry.item, entry.unitPrice, entry.quantity, entry.channel);
  else base.push(entry.reason, entry.of, entry.corrects ?? null);
  if (rest) base.push(rest);
  const { terms, prepaid } = entry;
  if (terms || prepaid) {
    while (base.length < MORE) base.push(null);
    base.push(terms ?? null);
    if (prepaid) base.push(1);
  }
  return base as EntryForm;
}

export const isOver = (state: AccountState): boolean => state === "chargeable" || state === "closed";

/**
 * The part of an account that is to be stored with this entry. Undefined if the entry is not the one for its time, or
 * if the two do not agree.
 */
export function restOf({ state, context }: Account, revision: number, entry: Entry): AccountRest | undefined {
  const { session, user, service, appServer, call, previous, startedAt, endedBy, tariff, used, terms, clockStepMs } =
    context;
  if (entry.kind !== "time" || !isOver(state) || entry.session !== session || entry.id !== endedId(session)) return;
  if (entry.user !== user || entry.service !== service || entry.appServer !== appServer || entry.call !== call) return;
  if (entry.previous?.session !== previous?.session || entry.previous?.by !== previous?.by) return;
  if (
    entry.at !== startedAt ||
    entry.endedBy !== endedBy ||
    tariff !== null ||
    used ||
    terms ||
    clockStepMs !== undefined
  )
    return;
  const { dueAt, windowMs, endedAt, hold } = context;
  return hold === undefined
    ? [revision, state, dueAt, windowMs, endedAt]
    : [revision, state, dueAt, windowMs, endedAt, hold];
}

/** The same entry with the rest of its session's account, or with none. */
export function withRest(form: EntryForm, rest: AccountRest | undefined): EntryForm {
  const more = form.slice(MORE);
  if (more.length > 0) return [...form.slice(0, REST), rest ?? null, ...more] as EntryForm;
  return [...form.slice(0, REST), ...(rest ? [rest] : [])] as EntryForm;
}

/** The account that is stored with an entry; undefined if there is none. */
export function accountWith(id: string, form: EntryForm | string | undefined): Account | undefined {
  if (typeof form !== "object" || form[0] !== "time" || !form[REST]) return undefined;
  const [revision, state, dueAt, windowMs, endedAt, hold] = form[REST];
  const { at, user, service, appServer, session, call, previous, endedBy } = entryOf(id, form) as TimeEntry;
  const head = [revision, state, dueAt, user, service, appServer, call!, windowMs] as const;
  const facts: AccountForm = [...head, at, endedAt, endedBy, null, hold ?? null, previous];
  return accountOf(session, facts);
}

export function entryOf(id: string, form: EntryForm): Entry {
  const [, at, month, user, service, appServer, session, call, previous, currency, amount] = form;
  const base = {
    id,
    at,
    month,
    user,
    service,
    appServer,
    session: typeof session === "number" ? id.slice(0, session) : session,
    ...(call !== null && { call }),
    ...(previous != null && { previous }),
    currency,
    amount,
    ...(form.length > MORE && moreOf(form.slice(MORE) as More)),
  };
  if (form[0] === "time") {
    const [durationMs, endedBy, tariff] = form.slice(11, REST) as [number, string, string | null];
    return { kind: "time", ...base, durationMs, endedBy, ...(tariff !== null && { tariff }) } satisfies TimeEntry;
  }
  if (form[0] === "item") {
    const [item, unitPrice, quantity, channel] = form.slice(11) as [string, string, string, string];
    return { kind: "item", ...base, item, unitPrice, quantity, channel } satisfies ItemEntry;
  }
  const [reason, of, corrects] = form.slice(11) as [string, CorrectionEntry["of"], string | null];
  return { kind: "correction", ...base, reason, of, ...(corrects !== null && { corrects }) } satisfies CorrectionEntry;
}

function moreOf([terms, prepaid]: More): Pick<Entry, "terms" | "prepaid"> {
  return { ...(terms && { terms }), ...(prepaid && { prepaid: true }) };
}
