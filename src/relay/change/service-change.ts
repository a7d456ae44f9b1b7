import type { Failure, Side } from "../../../machines/events.ts";
import { bodyFormat } from "../../directory/body.ts";
import type { Identified } from "../../directory/types.ts";
import { parseContentType } from "../../sip/headers.ts";
import { Headers, SipRequest } from "../../sip/message.ts";
import type { TimerHandle } from "../../support/clock.ts";
import { err, ok, type Result } from "../../support/result.ts";
import type { ServerTransaction } from "../../transaction/types.ts";
import { creditForNextPart } from "../charges/credits.ts";
import { reply } from "../dialog/reply.ts";
import { TransactionFor } from "../leg/redirect.ts";
import { contained } from "../model/contained.ts";
import type { ChangePort, Core, CreditPort, SessionPort } from "../model/core.ts";
import { refusalOfNew } from "../model/new-sessions.ts";
import type { Origin, UnderWay } from "../model/ports.ts";
import { recordOf } from "../model/records.ts";
import { ClientRequest } from "../request/request.ts";
import { Modification } from "../session/modification.ts";
import { Session } from "../session/session.ts";
import { Reinvitation } from "./reinvitation.ts";

/*
 * Another service in the middle of a session (E 5, C 5; M20-M22). On record, each part is a session of its own. The new
 * part is made beside the present one. When it is established, it takes over the client's dialog. Until then nothing
 * has changed.
 */

const SAME = ok(undefined);

/**
 * The service that a re-INVITE or UPDATE asks for: what the rules say of its body, with the Request-URI of the first
 * INVITE (M20). Undefined where the body describes no service, or the present one, as with a hold or a refresh. The
 * error is the answer to the request.
 */
export function wantedService(
  session: SessionPort,
  request: SipRequest,
): Result<Identified | undefined, Failure & { readonly rule?: string }> {
  const contentType = request.headers.get("content-type");
  if (request.body.length === 0 || contentType === undefined) return SAME;
  const type = parseContentType(contentType);
  // A body that the rules cannot read, the other end may be able to read. That must not be a way past the rules. But
  // bad parameters do not matter where no rule looks into that type of body.
  const media = type.ok ? type : parseContentType(contentType.split(";", 1)[0]!);
  if (media.ok && !media.value.type.startsWith("multipart/") && !bodyFormat(media.value.type)) return SAME;
  if (!type.ok) return err({ status: 400, reason: type.error });
  const { headers } = ofTheUser(session, request);
  const asked = new SipRequest(request.method, session.asked, headers, request.body);
  const wanted = session.core.directory.identify(asked, session.user);
  if (!wanted.ok) return err(wanted.error);
  return isSame(session.identified, wanted.value) ? SAME : ok(wanted.value);
}

/**
 * The request with the From of the dialog's start, when the user signed in. Within a dialog only From's tag means
 * anything (RFC 3261 §12.2.2); its sender may write any URI. In an app server's request, too, the rules are to see whom
 * the service is for.
 */
function ofTheUser({ client }: SessionPort, request: SipRequest): SipRequest {
  const from = client?.dialog.remote;
  if (from === undefined || request.headers.get("from") === from) return request; // nearly always so
  const headers = new Headers();
  for (const field of request.headers.fields) if (field.key !== "from") headers.fields.push(field);
  headers.add("From", from);
  return new SipRequest(request.method, request.uri, headers, request.body);
}

const isSame = (a: Identified, b: Identified): boolean =>
  a.service.id === b.service.id && a.tariff?.id === b.tariff?.id && a.appServers?.join() === b.appServers?.join();

/** Asks for another service, on behalf of the end that wants it. */
export function changeService(
  session: SessionPort,
  from: Side,
  transaction: ServerTransaction,
  identified: Identified,
): void {
  if (from === "client") new ClientServiceChange(session, transaction, identified).start();
  else {
    const { core, actor } = session;
    void contained(core, changeByServer(session, transaction, identified), { actor, transaction });
  }
}

/**
 * A change that the client wants. The rules have run again; app servers that offer the service are searched and asked
 * (M20, M21).
 */
export class ClientServiceChange implements ChangePort {
  readonly from = "client" as const;
  readonly first: SessionPort;
  readonly transaction: ServerTransaction;
  readonly identified: Identified;
  /** The present app server offers the service too, and may be asked now. Then it is asked within its dialog. */
  readonly keepsServer: boolean;
  /** The part that is asked for, once there is one. */
  second: SessionPort | undefined;
  private readonly core: Core;
  private request: ClientRequest | undefined;
  private timer: TimerHandle;
  private answered = false;
  private over = false;

  constructor(first: SessionPort, transaction: ServerTransaction, identified: Identified) {
    this.first = first;
    this.core = first.core;
    this.transaction = transaction;
    this.identified = identified;
    this.keepsServer = offers(first, identified) && first.core.directory.restsForMs(first.appServer.id) === 0;
  }

  start(): void {
    const { core, first, transaction } = this;
    first.beginChange(this);
    const busy = refusalOfNew(core, "part");
    if (busy || first.transfer) {
      if (busy) reply(transaction, busy.status, busy.headers);
      else reply(transaction, 491); // a move is under way: it is not decided yet where the client will be
      this.refused();
      return;
    }
    const asked = ofTheUser(first, transaction.request);
    const forUser = asked === transaction.request ? transaction : new TransactionFor(transaction, asked);
    const request = new ClientRequest(core, forUser, { verdict: "accepted", user: first.user }, { change: this });
    this.request = request;
    request.start();
    transaction.onCancel = (cancel) => {
      const reason = cancel.headers.get("reason");
      // The present app server may have changed already. So its answer still counts, and it is told of the CANCEL.
      if (this.keepsServer && this.second) this.second.withdraw(reason ?? CANCELLED);
      else request.giveUp(reason);
    };
    // RFC 3311 §5.2: an UPDATE must be answered at once, and cannot wait for a person to decide.
    if (transaction.request.method === "UPDATE" && !this.over)
      this.timer = core.clock.setTimeout(() => request.giveUp(), core.config.session.silentS * 1000);
  }

  /** RFC 3311 §5.2: 504 to an UPDATE that was not decided in time. */
  get cancelStatus(): number {
    return this.transaction.request.method === "UPDATE" ? 504 : 487;
  }

  /** Asks the present app server, in its dialog. */
  askWithin(second: SessionPort, asked: SipRequest): void {
    const asking = new Reinvitation(second, this.first, asked);
    second.asks(asking);
    asking.start();
  }

  /** The client was told that the change is made. Its ACK confirms a re-INVITE; an UPDATE needs no confirmation. */
  told(second: SessionPort): void {
    this.answered = true;
    this.second = second;
    this.core.clock.clearTimeout(this.timer);
    if (this.transaction.request.method === "UPDATE")
      second.actor.send({ type: "client.ack", at: second.now(), payload: undefined });
  }

  /** The change is refused: the session goes on as it was (RFC 6141 §3.1). */
  refused(): void {
    if (this.over) return;
    this.finish();
    this.first.actor.send({ type: "change.done" });
  }

  taken(second: SessionPort, at: number): void {
    if (this.over) {
      second.end({ code: "part-over" });
      return;
    }
    this.finish();
    handOver(this.first, second, at, this.keepsServer);
  }

  dropped(second: SessionPort): void {
    if (this.over || !this.answered || second !== this.second) return;
    this.finish(); // the client was told that the change is made
    this.first.end({ code: "service-gone" });
  }

  /** The session ends while the change is under way. */
  abort(): void {
    if (this.over) return;
    this.finish();
    if (this.answered) this.second?.end({ code: "part-over" });
    else this.request?.giveUp();
  }

  private finish(): void {
    this.over = true;
    this.core.clock.clearTimeout(this.timer);
    this.first.endChange(this);
  }
}

/** A change that the app server wants: to another service of its own, if the client agrees (M22). */
async function changeByServer(
  first: SessionPort,
  transaction: ServerTransaction,
  identified: Identified,
): Promise<void> {
  const { core } = first;
  // Keeps other changes out while the balance is asked.
  const waiting: UnderWay = { from: "server", abort: () => reply(transaction, 487) };
  const record = recordOf(transaction);
  record?.hold(); // the next part begins after the answer, and is on this record
  const refuse = (status: number, reason?: string, headers?: Failure["headers"]) => {
    reply(transaction, status, headers, reason);
    record?.letGo();
    first.endChange(waiting);
    first.actor.send({ type: "change.done" });
  };
  first.beginChange(waiting);
  if (first.transfer) return refuse(491);
  if (!offers(first, identified)) return refuse(403, "Not Your Service");
  const { user } = first;
  const { user: account, call } = first.facts;
  const taxes = core.directory.taxes(identified.service.id);
  const { tariff } = identified;
  const used = first.callParts.used(tariff);
  const held = await creditForNextPart(core, first, { tariff, taxes, used });
  if (transaction.answered) {
    if (held.ok) void held.value?.close(false); // the session ended in the meantime
    record?.letGo();
    return;
  }
  if (!held.ok) return refuse(held.error.status, held.error.reason, held.error.headers);
  const credit = held.value;
  const origin: Origin = {
    user,
    account,
    call,
    identified,
    asked: first.asked,
    previous: { session: first.id, by: "change" },
    timeline: first.timeline,
    credits: credit && { keyFor: () => credit.terms.key, taxes },
    record,
  };
  const second = new Session(core, origin, first.appServer, undefined);
  if (!second.isBillable) {
    void credit?.close(false);
    return refuse(500);
  }
  const decided = (agreed: boolean) => {
    if (agreed) switchTo(first, second, credit);
    else void credit?.close(false);
    record?.letGo();
  };
  Modification.begin(first, "server", transaction, { second, decided });
}

/** Both ends have agreed already, so the next part is established at once. */
function switchTo(first: SessionPort, second: SessionPort, credit: CreditPort | undefined): void {
  second.comesOf({ taken: (one, at) => handOver(first, one, at, true), dropped: () => {} });
  second.start();
  if (credit) second.pays(credit);
  credit?.attach(second);
  second.answered(undefined);
  second.actor.send({ type: "client.ack", at: second.now(), payload: undefined });
}

const CANCELLED = 'SIP;cause=487;text="Request Terminated"';

/** At this instant the clock of the first part stops, and that of the second starts. */
function handOver(first: SessionPort, second: SessionPort, at: number, keepsServer: boolean): void {
  second.succeed(first, at, keepsServer);
  void first.credit?.close(true); // the event that begins the next part also ends this one, and settles its hold
  first.core.counters.changed++;
  first.actor.send({ type: "change.taken", at, keepsServer });
}

/** Whether the session's app server offers that service. */
function offers({ core, appServer }: SessionPort, { service, appServers }: Identified): boolean {
  const now = core.directory.appServer(appServer.id);
  return (now?.services.includes(service.id) ?? false) && (appServers?.includes(appServer.id) ?? true);
}
