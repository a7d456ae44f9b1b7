import type { AuditEntry } from "../calls/audit.ts";
import type { CallStore } from "../calls/store.ts";
import type { TimeLog } from "../calls/time-log.ts";
import type { RefusedCharge } from "../charging/billing/refused-charge.ts";
import type { BillingStore } from "../charging/billing/store.ts";
import type { Closed } from "../charging/bills/closing.ts";
import type { CreditStore } from "../charging/credit/store.ts";
import type { Tariff } from "../charging/money/tariff.ts";
import type { ApiToken, AppServer, AppServerKey, Former, OutOfService, Service, User } from "../directory/types.ts";
import type { BindingStore } from "../registrar/store.ts";
import type { UsageLetters } from "../usage/letters.ts";

/** A set of registered things, each under its id. */
export interface Registry<T extends { readonly id: string }> {
  get(id: string): Promise<T | undefined>;
  list(): Promise<T[]>;
  /** Adds or replaces. What others have changed since the thing was read is lost: see `change`. */
  put(thing: T): Promise<void>;
  /** Adds what is new. False: there is one with this id, which stays as it is. */
  add(thing: T): Promise<boolean>;
  /**
   * Changes what is there, in one step with the reading of it: of two changes at once none is lost. `to` may be called
   * several times, and decides by what it is given. Resolves with the thing as it is now; undefined: there is none.
   */
  change(id: string, to: (thing: T) => T): Promise<T | undefined>;
  /** Adds or replaces many at once. If it rejects, none or some of them were written. */
  putAll(things: readonly T[]): Promise<void>;
  /** False if there was none. */
  remove(id: string): Promise<boolean>;
}

/**
 * The store port (decision 7): LMDB in the same process, or MongoDB. One contract test suite runs against
 * every adapter. Several processes may have the same store open (the relay, and `tollgate user add` beside it).
 */
export interface Store {
  readonly users: Registry<User>;
  readonly services: Registry<Service>;
  readonly appServers: Registry<AppServer>;
  readonly tariffs: Registry<Tariff>;
  /** What app servers sign in with (M15, M17). */
  readonly appServerKeys: Registry<AppServerKey>;
  /** What signs in by HTTP. */
  readonly tokens: Registry<ApiToken>;
  /** App servers that take no sessions for now. */
  readonly outOfService: Registry<OutOfService>;
  /** What is remembered of removed users and app servers, whose ids may be given again. */
  readonly former: Registry<Former>;
  /** Bills that have a number (src/charging/bills/closing.ts). */
  readonly closedBills: Registry<Closed>;
  /** Grows with every change of the registries, by whichever process: caches compare it. */
  directoryVersion(): Promise<number>;
  /**
   * The time of day by the server that all nodes share, milliseconds since 1970; missing: the store is on this machine.
   */
  serverTime?(): Promise<number>;
  readonly billing: BillingStore;
  /** Who changed what, and who read what of people. */
  readonly audit: TimeLog<AuditEntry>;
  /** What app servers asked for and did not get. */
  readonly refusedCharges: TimeLog<RefusedCharge>;
  /** What became of requests, and why. */
  readonly calls: CallStore;
  /** Where users' devices are. */
  readonly bindings: BindingStore;
  /** Events that an endpoint for usage does not take. */
  readonly usage: UsageLetters;
  /** Prepaid balances; an adapter without them serves postpaid users only. */
  readonly credit?: CreditStore;
  close(): Promise<void>;
}
