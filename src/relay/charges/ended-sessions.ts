import { bringsCharges } from "../../charging/charges/body.ts";
import { ChargeBook } from "../../charging/charges/book.ts";
import type { CallCharges } from "../../charging/charges/call-charges.ts";
import type { ChargeableSession } from "../../charging/charges/direct.ts";
import type { SessionFacts } from "../../charging/events/events.ts";
import type { ServiceLimits } from "../../charging/money/portal-limits.ts";
import type { SipRequest } from "../../sip/message.ts";
import type { Timeline } from "../../support/timeline.ts";
import { TokenMap } from "../../support/token-map.ts";
import type { NewRequest } from "../../transaction/types.ts";
import type { Core, EndedPort, SessionPort as Session } from "../model/core.ts";
import { sessionOf } from "../model/session-names.ts";
import { takeCharges } from "./charges.ts";

/** How many ended sessions are remembered. Of the others, the store knows. */
const MAX_REMEMBERED = 20_000;
/** The least time for which an ended session is remembered: its events need a while to reach the store. */
const LEAST_MS = 30_000;

interface Ended {
  readonly facts: SessionFacts;
  readonly limits: ServiceLimits | undefined;
  book: ChargeBook | undefined;
  readonly timeline: Timeline;
  call: CallCharges | undefined;
  readonly dueAt: number;
  /** Until when it is remembered, if there is room. */
  readonly until: number;
  /** The dialog that the app server was in. */
  readonly localTag: string | undefined;
  readonly remoteTag: string | undefined;
}

/**
 * Sessions that ended on this node and still take charges (M15), as long as there is room for them. Those that take
 * none are here for a while, too, so that a charge right after the end gets the right refusal.
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
   * Forgets sessions whose time is over, or for which there is no room. For each session that comes, up to two are
   * forgotten, so that the list shrinks again. A session whose book is in use goes to the end of the list, because
   * nobody may make a second book.
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

  /** The session turned out to be a part of a call, after its end. */
  joins(session: string, call: CallCharges): void {
    const ended = this.byId.get(session);
    if (ended) ended.call = call;
  }

  /** What the session shares with other sessions of its call, which may go on; undefined: nothing. */
  callOf(session: string): CallCharges | undefined {
    return this.byId.get(session)?.call;
  }

  private bookOf({ facts, limits, timeline, call }: Ended): ChargeBook {
    const book = new ChargeBook(this.core.keeping, facts, limits, timeline);
    call?.add(book);
    return book;
  }

  /**
   * Finds the session as long as it is remembered, also when its time for charges is over: then its book puts the
   * refusal on record.
   */
  find(session: string): ChargeableSession | undefined {
    const ended = this.byId.get(session);
    if (!ended) return undefined;
    ended.book ??= this.bookOf(ended);
    return { book: ended.book, dueAt: ended.dueAt };
  }

  /**
   * Takes charges in a dialog that has just ended (M15): they crossed a BYE, came in a BYE, or the app server could not
   * send them earlier. Returns false where there was no such dialog, where it takes no more charges, or where the
   * request brings none.
   */
  takes(transaction: NewRequest): boolean {
    const { method, headers, body } = transaction.request;
    const brings = method === "INFO" || method === "BYE" || method === "MESSAGE";
    if (!brings || !bringsCharges(headers.get("content-type"), body)) return false;
    const ended = this.endedOf(transaction.request);
    if (!ended) return false;
    if (ended.timeline.now() >= ended.dueAt || ended.facts.hold !== undefined) return false;
    transaction.begin();
    takeCharges(this.core, this.find(ended.facts.id)!.book, transaction);
    return true;
  }

  knows(request: SipRequest): boolean {
    return this.endedOf(request) !== undefined;
  }

  private endedOf({ callId, toTag, fromTag }: SipRequest): Ended | undefined {
    const ended = this.byId.get(sessionOf(callId) ?? "");
    return ended && ended.localTag === toTag && ended.remoteTag === (fromTag ?? "") ? ended : undefined;
  }
}
