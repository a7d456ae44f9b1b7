import type { SipRequest, SipResponse } from "../sip/message.ts";
import { detach } from "../sip/text.ts";
import { shown, shownUris } from "../support/peer-log.ts";
import type { Timeline } from "../support/timeline.ts";
import type { AskedServer, CallKind, CallRecord } from "./record.ts";

/** Where a request came from. */
export interface RecordSource {
  readonly transport: string;
  readonly remoteAddress: string;
  readonly remotePort: number;
}

/** Who takes records that have ended. */
export interface RecordTaker {
  /** Nothing more will happen to it. */
  ended(record: OpenRecord): void;
  /** Its caller has signed in. */
  known(record: OpenRecord): void;
  /** It was answered, and goes on. */
  answered(record: OpenRecord): void;
  /** It will not end here. */
  forgotten(record: OpenRecord): void;
  wentElsewhere(record: OpenRecord): void;
  /** A fresh id. */
  newId(): string;
  /** What a session cost, as text; undefined: nothing. */
  costOf(branch: OpenBranch): string | undefined;
}

/** What a record takes of a session in which a request came. */
export interface SessionOfRecord {
  readonly id: string;
  readonly user: string;
  readonly facts: { readonly call: string; readonly service: string };
  readonly appServer: { readonly id: string };
  readonly client: { readonly dialog: { readonly callId: string } } | undefined;
  readonly server: { readonly dialog: { readonly callId: string } } | undefined;
}

interface Within {
  readonly session: string;
  readonly appServer: string;
  /** Call-ID of the dialog with the other end. */
  readonly callId: string | undefined;
}

/** Why a request fails by an error of ours. */
export const FAULT = "a fault of the relay";
/** Why requests end when the relay does. */
export const STOPS = "the relay stops";

const NONE: readonly OpenBranch[] = [];
/** Answers that need no id: the client knows why, or is about to try again. */
const PLAIN: ReadonlySet<number> = new Set([401, 407, 487]);
const MAX_CALL_ID = 200;
const MAX_URI = 200;
const MAX_TEXT = 120;
/** App servers that one record shows. */
const MAX_ASKED = 50;

/**
 * The record of a request that is under way. It is held by the request's transaction, until the final answer, and by
 * whatever comes of the request: sessions, a move. When the last of these lets it go, the record has ended. Each call
 * has one, so it only notes what happens; it is made into data later, off the path of the call.
 */
export class OpenRecord {
  /** Empty until the request has an id of its own, or the answer needs one. */
  id = "";
  call = "";
  readonly kind: CallKind;
  readonly method: string;
  /** Milliseconds since 1970, by the timeline. */
  readonly at: number;
  user = "";
  service = "";
  rule: string | undefined = undefined;
  fromServer = false;
  branches: readonly OpenBranch[] = NONE;
  /** The session in which it came. */
  within: Within | undefined = undefined;
  status = 0;
  reason = "";
  why = "";
  ringMs = -1;
  answerMs = -1;
  wholeMs = -1;
  /** It was begun by an earlier process. */
  readonly resumed: boolean;
  private readonly taker: RecordTaker;
  private readonly timeline: Timeline;
  private request: SipRequest | undefined;
  private source: RecordSource | undefined;
  private holders = 1;
  private isPassedOn = false;
  /** Its end is nobody's business here. */
  private isGone = false;
  /** Who else sees the answers. */
  also: { responded(response: SipResponse): void } | undefined = undefined;
  /** Set when the request and its connection need not be kept any longer. */
  private callId = "";
  private uri = "";
  private place = "";

  constructor(
    taker: RecordTaker,
    kind: CallKind,
    timeline: Timeline,
    request: SipRequest | undefined,
    source: RecordSource | undefined,
    callId = "",
    at = timeline.now(),
  ) {
    this.taker = taker;
    this.kind = kind;
    this.method = request?.method ?? "INVITE";
    this.timeline = timeline;
    this.at = at;
    this.request = request;
    this.source = source;
    this.resumed = request === undefined;
    this.callId = callId;
  }

  get hasEnded(): boolean {
    return this.holders === 0;
  }

  get name(): string {
    if (this.id === "") this.id = this.taker.newId();
    return this.id;
  }

  /** The Call-ID of its sender's dialog, as it came. */
  get ofCallId(): string {
    return this.request?.callId ?? this.callId;
  }

  /** Where it came from. */
  get from(): string {
    const { source } = this;
    return source ? `${source.transport}/${source.remoteAddress}:${source.remotePort}` : this.place;
  }

  get address(): string {
    return this.source?.remoteAddress ?? "";
  }

  /** Milliseconds since the request came. */
  since(): number {
    return this.timeline.now() - this.at;
  }

  hold(): void {
    this.holders++;
  }

  letGo(): void {
    if (this.holders === 0 || --this.holders > 0 || this.isGone) return;
    this.wholeMs = this.since();
    this.taker.ended(this);
  }

  /** The request has an id of its own, by which the log names it. */
  isNamed(id: string, call: string): void {
    if (this.id === "") this.id = id;
    if (this.call === "") this.call = call;
  }

  signedIn(user: string): void {
    this.user = user;
    this.taker.known(this);
  }

  asksFor(service: string, rule: string | undefined): void {
    this.service = service;
    this.rule = rule;
  }

  /** A rule has refused it. */
  isDecidedBy(rule: string): void {
    this.rule = rule;
  }

  /** It came within that session, from one of its ends. */
  isWithin({ id, facts, user, appServer, client, server }: SessionOfRecord, from: "client" | "server"): void {
    this.user = user;
    this.call = facts.call;
    this.service = facts.service;
    this.fromServer = from === "server";
    const other = from === "client" ? server : client;
    this.within = { session: id, appServer: appServer.id, callId: other?.dialog.callId };
  }

  /** It ends in nothing that counts: its sender is asked to sign in, and comes again. */
  forget(): void {
    if (this.isGone) return;
    this.isGone = true;
    this.taker.forgotten(this);
  }

  /** Its session goes on in another process, which will know its end. */
  goesElsewhere(): void {
    if (this.isGone) return;
    this.isGone = true;
    this.taker.wentElsewhere(this);
  }

  /** Why it was refused, for the operator alone. */
  because(why: string): void {
    if (this.why === "") this.why = why;
  }

  /** An app server is asked in that session. The branch is let go with the session. */
  asks(appServer: string, session: string): OpenBranch {
    const branch = new OpenBranch(this, appServer, session, this.since());
    this.branches = this.branches === NONE ? [branch] : [...this.branches, branch];
    this.hold();
    return branch;
  }

  /** The final answer is another's, which is passed on. */
  passesOn(): void {
    this.isPassedOn = true;
  }

  /**
   * An answer to the request is about to go out. Where the relay itself refuses a user, it names the record, so that
   * the operator finds it (RFC 3261 §20.43).
   */
  responded(response: SipResponse): void {
    const { status } = response;
    this.also?.responded(response);
    if (status < 200) {
      if (this.ringMs < 0 && status > 100 && status !== 199) this.ringMs = this.since();
      return;
    }
    if (this.status !== 0) return; // a 2xx is repeated
    this.status = status;
    this.reason = response.reason;
    this.answerMs = this.since();
    const isForUser = this.user !== "" && !this.fromServer;
    if (status >= 300 && isForUser && !this.isPassedOn && !PLAIN.has(status))
      response.headers.add("Warning", `399 tollgate "reference ${this.name}"`);
    const goesOn = this.holders > 1;
    if (goesOn) this.settle();
    this.letGo();
  }

  /** What a REFER that was accepted has come to. */
  cameTo(status: number, reason: string): void {
    if (status < 200) return;
    this.status = status;
    this.reason = reason;
  }

  /** An app server's answer has made a session of it. */
  stands(): void {
    this.taker.answered(this);
  }

  /** It was answered at once, and nothing is under way. */
  wasRefused(status: number, reason: string, why: string): void {
    this.status = status;
    this.reason = reason;
    this.why = why;
    this.answerMs = this.wholeMs = this.holders = 0;
  }

  /** A session that an earlier process had. */
  isOf(call: string, user: string, service: string, rule: string | undefined): void {
    this.id = this.call = call;
    this.user = user;
    this.service = service;
    this.rule = rule;
    this.status = 200;
    this.reason = "OK";
  }

  /** Nothing of the message and the connection is kept while a session stands. */
  private settle(): void {
    const { request, source } = this;
    if (request === undefined) return;
    this.callId = detach(request.callId);
    this.uri = detach(shownUris(request.uri, MAX_URI));
    this.place = source ? this.from : "";
    this.request = this.source = undefined;
  }

  toRecord(): CallRecord {
    const { request, branches, status, why, rule, within } = this;
    const asked = branches.slice(0, MAX_ASKED).map((branch) => branch.toAsked());
    const costs = asked.flatMap(({ cost }) => cost ?? []);
    const uri = request ? shownUris(request.uri, MAX_URI) : this.uri;
    const record: Writable<CallRecord> = {
      id: this.name,
      kind: this.kind,
      method: this.method,
      at: this.at,
      callId: shown(this.ofCallId, MAX_CALL_ID),
      source: this.from,
      uri,
      wholeMs: this.wholeMs < 0 ? this.since() : this.wholeMs,
    };
    if (this.call !== "") record.call = this.call;
    if (this.fromServer) record.fromServer = true;
    if (this.user !== "") record.user = this.user;
    if (rule !== undefined) record.rule = rule;
    if (this.service !== "") record.service = this.service;
    if (asked.length > 0) record.asked = asked;
    if (within) {
      const { session, appServer, callId: other } = within;
      record.within = { session, appServer, ...(other !== undefined && { callId: shown(other, MAX_CALL_ID) }) };
    }
    if (status !== 0) {
      record.status = status;
      record.reason = shown(this.reason, MAX_TEXT);
    }
    if (why !== "") record.why = shown(why, MAX_TEXT);
    if (this.ringMs >= 0) record.ringMs = this.ringMs;
    if (this.answerMs >= 0) record.answerMs = this.answerMs;
    if (costs.length > 0) record.cost = costs.join(" + ");
    if (this.resumed) record.resumed = true;
    if (this.hasEnded) record.endedBy = this.endedBy;
    else record.running = true;
    return record;
  }

  costOf(branch: OpenBranch): string | undefined {
    return this.taker.costOf(branch);
  }

  private get endedBy(): string {
    for (let i = this.branches.length - 1; i >= 0; i--) {
      const { endedBy } = this.branches[i]!;
      if (endedBy !== "") return shown(endedBy, MAX_TEXT);
    }
    if (this.status === 487) return this.why === STOPS ? "relay" : "client"; // RFC 3261 §9.2
    if (this.kind === "change" && this.status < 300) return this.fromServer ? "server" : "client";
    return this.branches.length > 0 ? "server" : "relay";
  }
}

/** One app server that is asked, while it is under way. */
export class OpenBranch {
  readonly record: OpenRecord;
  readonly appServer: string;
  readonly session: string;
  private readonly atMs: number;
  private callId = "";
  private status = 0;
  private reason = "";
  private why = "";
  private answerMs = -1;
  private clockMs = -1;
  endedBy = "";
  /** What the cost is worked out of, when the record is made; undefined: the clock never ran. */
  costs: unknown;

  constructor(record: OpenRecord, appServer: string, session: string, atMs: number) {
    this.record = record;
    this.appServer = appServer;
    this.session = session;
    this.atMs = atMs;
  }

  /** The relay's request goes out, in the dialog of that Call-ID. */
  sent(callId: string): void {
    this.callId = callId;
  }

  /** Call-ID of that dialog; "": nothing was sent. */
  get ofCallId(): string {
    return this.callId;
  }

  /** Its final answer. */
  said({ status, reason }: Pick<SipResponse, "status" | "reason">): void {
    this.status = status;
    this.reason = reason;
    this.answerMs = this.record.since();
  }

  /** There is no answer of its own, or none that counts. */
  because(why: string): void {
    if (this.why === "") this.why = why;
  }

  /** The session's clock has stopped. */
  stopped(clockMs: number, costs: unknown): void {
    this.clockMs = clockMs;
    this.costs = costs;
  }

  /** The session is closed. `endedBy`: "" where there never was one. */
  close(endedBy: string): void {
    this.endedBy = endedBy;
    this.record.letGo();
  }

  toAsked(): AskedServer {
    const { status, why, clockMs, endedBy } = this;
    const asked: Writable<AskedServer> = { appServer: this.appServer, session: this.session, atMs: this.atMs };
    if (this.callId !== "") asked.callId = shown(this.callId, MAX_CALL_ID);
    if (status !== 0) {
      asked.status = status;
      asked.reason = shown(this.reason, MAX_TEXT);
    }
    if (why !== "") asked.why = shown(why, MAX_TEXT);
    if (this.answerMs >= 0) asked.answerMs = this.answerMs;
    if (clockMs >= 0) asked.clockMs = clockMs;
    if (endedBy !== "") asked.endedBy = shown(endedBy, MAX_TEXT);
    const cost = this.costs === undefined ? undefined : this.record.costOf(this);
    if (cost !== undefined) asked.cost = cost;
    return asked;
  }
}

type Writable<T> = { -readonly [K in keyof T]: T[K] };
