import { bringsCharges } from "../../charging/charges/body.ts";
import { ChargeBook } from "../../charging/charges/book.ts";
import type { CallCharges } from "../../charging/charges/call-charges.ts";
import type { ChargeableSession } from "../../charging/charges/direct.ts";
import type { SessionFacts } from "../../charging/events/events.ts";
import type { ServiceLimits } from "../../charging/money/portal-limits.ts";
import type { Timeline } from "../../support/timeline.ts";
import { TokenMap } from "../../support/token-map.ts";
import type { NewRequest } from "../../transaction/types.ts";
import type { Core, EndedPort, SessionPort as Session } from "../model/core.ts";
import { sessionOf } from "../model/session-names.ts";
import { takeCharges } from "./charges.ts";

/** Ended sessions that are remembered; for the others the store knows. */
const MAX_REMEMBERED = 20_000;
/** The least time for which one is remembered, so that nobody has to ask the store what is on its way there. */
const LEAST_MS = 30_000;

interface Ended {
  readonly facts: SessionFacts;
  readonly limits: ServiceLimits | undefined;
  book: ChargeBook | undefined;
  readonly timeline: Timeline;
  call: CallCharges | undefined;
  readonly dueAt: number;
  /** How long it is remembered, if there is room. */
  readonly until: number;
  /** The dialog that the app server was in. */
  readonly localTag: string | undefined;
  readonly remoteTag: string | undefined;
}

/**
 * Sessions that ended on this node and still take charges (M15), as long as there is room for them; and those that
 * take none, so that what comes right after their end is told so.
 */
export class EndedSessions implements EndedPort {
  private readonly core: Pick<Core, "keeping" | "counters" | "peerLog">;
  private readonly byId = new TokenMap<Ended>();
  /** Their ids, the oldest at `head`. */
  private readonly order: string[] = [];
  private head = 0;

  constructor(core: Pick<Core, "keeping" | "counters" | "peerLog">) {
    this.core = core;
  }

  get size(): number {
    return this.byId.size;
  }

  /** A session ended at `endedAt`. */
  add({ facts, service, server, charges, timeline }: Session, endedAt: number): void {
    const dueAt = endedAt + (facts.lateChargesMs ?? 0);
    this.byId.set(facts.id, {
      facts,
      limits: service.limits,
      book: charges.bookIfAny,
      timeline,
      call: charges.call,
      dueAt,
      until: Math.max(dueAt, endedAt + LEAST_MS),
      localTag: server?.dialog.localTag,
      remoteTag: server?.dialog.remoteTag,
    });
    this.order.push(facts.id);
    this.forgetOldest();
  }

  /**
   * Those whose time is over, and those that there is no room for. Two for each that comes, so that it shrinks when
   * windows are over. One whose book is in use goes to the end: nobody may make another.
   */
  private forgetOldest(): void {
    const { byId, order } = this;
    for (let i = 0; i < 2; i++) {
      const oldest = order[this.head];
      if (oldest === undefined) break;
      const ended = byId.get(oldest);
      if (ended && ended.until > ended.timeline.now() && byId.size <= MAX_REMEMBERED) break;
      if (ended?.book?.isBusy) order.push(oldest);
      else byId.delete(oldest);
      this.head++;
    }
    if (this.head < MAX_REMEMBERED) return;
    order.splice(0, this.head);
    this.head = 0;
  }

  /** It was a part of a call, as was found out after its end. */
  joins(session: string, call: CallCharges): void {
    const ended = this.byId.get(session);
    if (ended) ended.call = call;
  }

  /** What it has together with other sessions, which may go on; undefined: nothing. */
  callOf(session: string): CallCharges | undefined {
    return this.byId.get(session)?.call;
  }

  private bookOf({ facts, limits, timeline, call }: Ended): ChargeBook {
    const book = new ChargeBook(this.core.keeping, facts, limits, timeline);
    call?.add(book);
    return book;
  }

  /** Also when its time is over, as long as it is remembered: what was refused is on record then. */
  find(session: string): ChargeableSession | undefined {
    const ended = this.byId.get(session);
    if (!ended) return undefined;
    ended.book ??= this.bookOf(ended);
    return { book: ended.book, dueAt: ended.dueAt };
  }

  /**
   * Charges in a dialog that has just ended: they crossed BYE, perhaps in a BYE, or the app server had no time to
   * send them before (M15). Returns false where there was no such dialog, or it takes no more charges, or a request
   * is none.
   */
  takes(transaction: NewRequest): boolean {
    const { method, headers, body } = transaction.request;
    const brings = method === "INFO" || method === "BYE" || method === "MESSAGE";
    if (!brings || !bringsCharges(headers.get("content-type"), body)) return false;
    const { callId, toTag, fromTag } = transaction.request;
    const ended = this.byId.get(sessionOf(callId) ?? "");
    if (!ended || ended.localTag !== toTag || ended.remoteTag !== (fromTag ?? "")) return false;
    if (ended.timeline.now() >= ended.dueAt || ended.facts.hold !== undefined) return false;
    transaction.begin();
    takeCharges(this.core, this.find(ended.facts.id)!.book, transaction);
    return true;
  }
}
