import { assign, setup } from "xstate";
import type { ChargeMade, SessionEnded, SessionFacts, SessionStarted } from "../src/charging/events/events.ts";
import type { Tariff, TariffUse } from "../src/charging/money/tariff.ts";
import type { Terms } from "../src/charging/money/terms.ts";
import { providedAtStart } from "./provided.ts";

/** The account's events are the charging events themselves, and the end of the window for late charges. */
export type BillingEvent = SessionStarted | SessionEnded | ChargeMade | { readonly type: "window.closed" };

export interface BillingInput {
  readonly session: SessionFacts;
  /** How long after its end a session takes further charges (M15); 0: not at all. */
  readonly windowMs: number;
}

/**
 * Kept in the store between events, as plain JSON. It does not hold what was charged: the entries on the bill do
 * (decisions 9 and 12).
 */
export interface BillingContext {
  readonly version: 1;
  readonly session: string;
  readonly user: string;
  readonly service: string;
  readonly appServer: string;
  readonly call: string;
  readonly windowMs: number;
  /** Only for a prepaid session: the key of its hold in the user's balance. */
  readonly hold?: string;
  /** The session that this one follows; the bill links the two. */
  readonly previous?: SessionFacts["previous"];
  /** The tariff, while the session runs. Billing needs it to end a session whose relay was killed. */
  readonly tariff: Tariff | null;
  readonly used?: TariffUse | undefined;
  /** Taxes, and what was agreed with the app server. Kept for the same reason. */
  readonly terms?: Terms | undefined;
  /**
   * How far the relay's wall clock had been set when the session began (`SessionFacts.clockStepMs`). Missing: not at
   * all.
   */
  readonly clockStepMs?: number;
  readonly startedAt: number | null;
  readonly endedAt: number | null;
  readonly endedBy: string | null;
  /** When the window for late charges closes. An absolute time, because it must outlive the process (decision 11). */
  readonly dueAt: number | null;
}

/**
 * The account of one session (M12-M18). Its events may come twice and in any order; the bill is the same. An end says
 * when the session started, so no start has to come before it. A charge is entered in every state, because the relay
 * checked that it was in time before it answered.
 */
export const billingMachine = setup({
  types: {
    context: {} as BillingContext,
    events: {} as BillingEvent,
    input: {} as BillingInput,
  },
  actions: {
    // Each puts one entry on the bill under the event's own id. An action that is done twice leaves one entry.
    /** Rates the session's duration by its tariff and enters it on the bill (M13). */
    enterTime: providedAtStart,
    /** Enters what the app server charged on the bill (M14, M16). */
    enterCharge: providedAtStart,
    noteStart: assign(({ event }) => (event.type === "session.started" ? { startedAt: event.at } : {})),
    noteEnd: assign(({ context, event }) => {
      if (event.type !== "session.ended") return {};
      const dueAt = context.windowMs > 0 ? event.at + context.windowMs : null;
      const ended = { startedAt: event.startedAt, endedAt: event.at, endedBy: event.endedBy, dueAt, tariff: null };
      return context.terms || context.used ? { ...ended, terms: undefined, used: undefined } : ended;
    }),
    noteClosed: assign({ dueAt: null }),
  },
  guards: {
    takesLateCharges: ({ context }) => context.windowMs > 0,
  },
}).createMachine({
  id: "billing",
  initial: "open",
  context: ({ input: { session, windowMs } }) => ({
    version: 1,
    session: session.id,
    user: session.user,
    service: session.service,
    appServer: session.appServer,
    call: session.call,
    tariff: session.tariff ?? null,
    ...(session.used && { used: session.used }),
    ...(session.terms && { terms: session.terms }),
    windowMs,
    ...(session.hold !== undefined && { hold: session.hold }),
    ...(session.previous && { previous: session.previous }),
    ...(Number.isSafeInteger(session.clockStepMs) && { clockStepMs: session.clockStepMs! }),
    startedAt: null,
    endedAt: null,
    endedBy: null,
    dueAt: null,
  }),
  on: {
    "charge.made": { actions: "enterCharge" },
  },
  states: {
    /** The start has not come yet; charges may have. */
    open: {
      on: {
        "session.started": { target: "running", actions: "noteStart" },
        "session.ended": [
          { guard: "takesLateCharges", target: "chargeable", actions: ["noteEnd", "enterTime"] },
          { target: "closed", actions: ["noteEnd", "enterTime"] },
        ],
      },
    },
    running: {
      on: {
        "session.ended": [
          { guard: "takesLateCharges", target: "chargeable", actions: ["noteEnd", "enterTime"] },
          { target: "closed", actions: ["noteEnd", "enterTime"] },
        ],
      },
    },
    /** The session has ended, but its app server may still send late charges (M15). */
    chargeable: {
      on: {
        "window.closed": { target: "closed", actions: "noteClosed" },
      },
    },
    /** Not a final state: a charge that the relay took in time may arrive only now. */
    closed: {},
  },
});
