import { createHash } from "node:crypto";
import { SERVICE_HEADER } from "../charging/charges/header-names.ts";
import { isHttpUrl } from "../directory/http-address.ts";
import type { AppServer } from "../directory/types.ts";
import { isSips } from "../relay/dialog/sips.ts";
import type { Core, SessionPort } from "../relay/model/core.ts";
import type { SipMessage, SipRequest } from "../sip/message.ts";
import { defaultBounds, parseMessage } from "../sip/parse.ts";
import { responseTo } from "../sip/response.ts";
import { serialize } from "../sip/serialize.ts";
import { staysHere } from "../support/http-urls.ts";
import { spanIdOf, traceparent } from "../support/trace-ids.ts";
import type { InsidePeer } from "../transport/inside.ts";
import { healthAnswer, type SipAnswer, sipAnswer } from "./answers.ts";
import type { Deliveries } from "./deliveries.ts";
import { Dialogs, namedBy, SERVICE_KEY, SESSION_KEY } from "./dialogs.ts";
import { askedOf, type EventType, eventOf, type SessionSeen, seenOf } from "./events.ts";
import type { HttpQuestion, Outcome } from "./http-client.ts";
import { OwnRequests } from "./own-requests.ts";

/** What SIP parts need of the rest of the relay. */
export interface Surroundings {
  readonly core: Pick<
    Core,
    "legs" | "sessions" | "directory" | "border" | "clock" | "config" | "random" | "peerLog" | "transport"
  >;
  readonly deliveries: Pick<Deliveries, "push">;
  /** Asks the app server by HTTP. `text`: what is signed and sent. */
  ask(server: AppServer, text: string, options: Omit<HttpQuestion, "headers" | "body">): Promise<Outcome>;
}

const ALLOW = "INVITE, ACK, CANCEL, BYE, OPTIONS, UPDATE, NOTIFY";
/** The relay has given up a request by then, so a later answer would be in vain. */
const GRACE_MS = 1_000;
const DEFAULT_RING_S = 180;
/** RFC 3311 §5.2: an UPDATE is answered at once or not at all. */
const UPDATE_MS = 5_000;
const BOUNDS = { ...defaultBounds, maxMessageBytes: 16_777_216, maxHeaders: 10_000, maxHeaderBytes: 1_048_576 };

/** An INVITE or UPDATE on which the app server has not decided yet. */
interface Asked {
  readonly abort: AbortController;
  readonly giveUp: (status: number, reason: string) => void;
}

/**
 * The SIP part of one app server that speaks HTTP: a user agent within this process. It turns the relay's requests into
 * HTTP, and what the app server says into SIP. Tags and ids are derived from the dialog and not remembered, so that
 * another process, or another node, can go on with a dialog.
 */
export class SipPart implements InsidePeer {
  readonly dialogs = new Dialogs();
  readonly own: OwnRequests;
  private readonly id: string;
  private readonly around: Surroundings;
  private readonly asked = new Map<string, Asked>();
  private send: (bytes: Buffer) => void = () => {};

  /** `id`: the app server's. */
  constructor(id: string, around: Surroundings) {
    this.id = id;
    this.around = around;
    this.own = new OwnRequests(
      around.core,
      this.dialogs,
      () => this.server,
      (message) => this.write(message),
    );
  }

  /** A wire to it was opened. */
  opened(send: (bytes: Buffer) => void): void {
    this.send = send;
  }

  closed(): void {
    this.send = () => {};
  }

  received(bytes: Buffer): void {
    if (bytes.length <= 4) return; // a keep-alive
    const parsed = parseMessage(bytes, "stream", BOUNDS);
    if (!parsed.ok) return;
    if (parsed.value.isRequest) this.request(parsed.value);
    else this.own.answered(parsed.value);
  }

  private get server(): AppServer | undefined {
    return this.around.core.directory.appServer(this.id);
  }

  private request(request: SipRequest): void {
    switch (request.method) {
      case "INVITE":
        if (request.toTag === undefined) this.invited(request);
        else this.changed(request);
        return;
      case "UPDATE":
        this.changed(request);
        return;
      case "ACK":
        this.acknowledged(request);
        return;
      case "CANCEL":
        this.cancelled(request);
        return;
      case "BYE":
        void this.ended(request);
        return;
      case "OPTIONS":
        if (request.toTag === undefined) void this.health(request);
        else this.respond(request, { status: 200 });
        return;
      case "NOTIFY":
        this.respond(request, { status: 200 });
        this.own.notified(request);
        return;
      default:
        this.respond(request, { status: 405 });
    }
  }

  // --- what the app server is asked ---

  private invited(request: SipRequest): void {
    const session = this.sessionOf(request);
    const refusal = session ? this.refusalOf(request, session) : { status: 481 };
    if (!session || refusal) {
      this.respond(request, refusal ?? { status: 481 });
      return;
    }
    this.ask(request, session, {}, () => this.dialogs.keep(request.callId, seenOf(session)));
  }

  /** The client asks for another service in the session; else it is a refresh, which asks for nothing. */
  private changed(request: SipRequest): void {
    const first = this.sessionOf(request);
    const second = this.around.core.sessions.get(request.headers.get(SESSION_KEY) ?? "");
    const service = request.headers.get(SERVICE_KEY);
    if (!first) this.respond(request, { status: 481 });
    else if (service === undefined || !second || second === first)
      // We agree on nothing but services.
      this.respond(request, request.body.length === 0 ? { status: 200 } : { status: 488 });
    else {
      const before = this.dialogs.get(request.callId)?.seen ?? seenOf(first);
      this.ask(request, second, { changes: before.session }, () => {
        const dialog = this.dialogs.keep(request.callId, before);
        const to = seenOf(second);
        if (request.method === "INVITE") dialog.change = { seq: request.cseq?.number ?? 0, to };
        else this.tellChanged(request.callId, before.session, to);
      });
    }
  }

  /** The span of its being asked, if there are traces. */
  private traceOf({ facts }: SessionPort): { readonly traceparent?: string } {
    const { otlp, sample } = this.around.core.config.telemetry;
    return otlp === undefined ? {} : { traceparent: traceparent(facts.call, spanIdOf("asked", facts.id), sample) };
  }

  private refusalOf(request: SipRequest, session: SessionPort): SipAnswer | undefined {
    const url = this.server?.url;
    if (url === undefined || !isHttpUrl(url)) return { status: 480 };
    const required = request.headers.all("require").join(",");
    if (required !== "") return { status: 420, headers: [["Unsupported", required]] };
    // RFC 3261 §26.2.2: every hop to a sips URI is to be secured.
    const parsed = new URL(url);
    return isSips(session.asked) && parsed.protocol !== "https:" && !staysHere(parsed) ? { status: 416 } : undefined;
  }

  /** Asks the app server whether it serves. `accepted` is called before its success goes to the relay. */
  private ask(request: SipRequest, session: SessionPort, more: object, accepted: () => void): void {
    const { core } = this.around;
    const server = this.server;
    const branch = request.via?.params.get("branch");
    if (!server || branch === undefined) {
      this.respond(request, { status: 480 });
      return;
    }
    const text = this.event("session.requested", request.callId, seenOf(session), {
      ...more,
      ...askedOf(session, request),
    }).body;
    const within = request.toTag !== undefined;
    const abort = new AbortController();
    let open = true;
    const decide = (answer: SipAnswer) => {
      if (!open) return;
      open = false;
      this.asked.delete(branch);
      if (answer.why !== undefined) this.log(session.id, answer);
      const isSuccess = answer.status < 300;
      if (isSuccess) accepted();
      // RFC 3261 §12.2.1.2: 408 would say that the session is gone. RFC 4320 §4.1: no 408 to UPDATE.
      this.respond(request, within && answer.status === 408 ? { ...answer, status: 504 } : answer, within && session);
    };
    const giveUp = (status: number, reason: string) => {
      if (!open) return;
      decide({ status });
      abort.abort();
      // Whether the app server has got the request is not known.
      this.tell("session.ended", request.callId, seenOf(session), { reason });
    };
    this.asked.set(branch, { abort, giveUp });
    const isUpdate = request.method === "UPDATE";
    const ringMs = (session.service.ringS ?? DEFAULT_RING_S) * 1000 + GRACE_MS;
    const working = () => open && this.respond(request, { status: 180 });
    void this.around
      .ask(server, text, {
        method: "POST",
        withinMs: isUpdate ? UPDATE_MS : core.config.session.silentS * 1000 + GRACE_MS,
        signal: abort.signal,
        ...(!isUpdate && { working, workingMs: ringMs }),
        ...this.traceOf(session),
      })
      .then((outcome) => {
        if ("failed" in outcome && outcome.late) giveUp(408, "no answer in time");
        else decide(sipAnswer(outcome, core.clock.wall()));
      });
  }

  private cancelled(request: SipRequest): void {
    this.respond(request, { status: 200 });
    this.asked.get(request.via?.params.get("branch") ?? "")?.giveUp(487, "cancelled");
  }

  private async health(request: SipRequest): Promise<void> {
    const { core, ask } = this.around;
    const { server } = this;
    if (!server) {
      this.respond(request, { status: 503 });
      return;
    }
    const withinMs = core.config.session.silentS * 1000;
    this.respond(request, healthAnswer(await ask(server, "", { method: "OPTIONS", withinMs }), core.clock.wall()));
  }

  // --- what it is told ---

  private acknowledged(request: SipRequest): void {
    const { callId } = request;
    const dialog = this.dialogs.get(callId);
    const change = dialog?.change;
    if (dialog && change?.seq === request.cseq?.number && change) {
      const { session } = dialog.seen;
      delete dialog.change;
      if (this.around.core.sessions.get(change.to.session)) this.tellChanged(callId, session, change.to);
      return;
    }
    const session = this.sessionOf(request);
    // The first ACK makes the session; those of changes that came to nothing say nothing.
    if (session && request.cseq?.number === FIRST_SEQ) this.tell("session.established", callId, seenOf(session));
  }

  /** The dialog's session is another one from now on. */
  tellChanged(callId: string, from: string, to: SessionSeen): void {
    this.dialogs.keep(callId, to);
    this.tell("session.changed", callId, to, { changes: from });
  }

  private async ended(request: SipRequest): Promise<void> {
    const { callId } = request;
    const session = this.sessionOf(request);
    const seen = session ? seenOf(session) : (this.dialogs.get(callId)?.seen ?? namedBy(request));
    const reason = textOfReason(request.headers.get("reason"));
    // The answer to BYE waits for the first attempt: what the app server charges in its answer is then on record.
    await this.tellEnded(callId, seen, reason === undefined ? {} : { reason });
    this.respond(request, { status: 200 });
  }

  /** Resolves when the app server was told for the first time, whatever came of it. */
  async tellEnded(callId: string, seen: SessionSeen, more: object): Promise<void> {
    this.own.over(callId);
    this.dialogs.forget(callId);
    await this.around.deliveries.push(this.event("session.ended", callId, seen, more));
  }

  private tell(type: EventType, callId: string, seen: SessionSeen, more: object = {}): void {
    void this.around.deliveries.push(this.event(type, callId, seen, more));
  }

  private event(type: EventType, callId: string, seen: SessionSeen, more: object = {}) {
    return eventOf(type, this.id, callId, this.around.core.clock.wall(), seen, more);
  }

  // --- messages ---

  /** The session whose dialog with this app server a request of the relay belongs to. */
  private sessionOf({ fromTag, callId }: SipRequest): SessionPort | undefined {
    const leg = this.around.core.legs.get(fromTag ?? "");
    const isOurs = leg?.side === "server" && leg.dialog.callId === callId && leg.session.appServer.id === this.id;
    return isOurs ? leg.session : undefined;
  }

  /** `changesTo`: the session of a change, whose service the success is to name. */
  private respond(request: SipRequest, answer: SipAnswer, changesTo: SessionPort | false = false): void {
    const { status, reason, headers = [], body } = answer;
    const response = responseTo(request, status, reason, tagFor(request), headers);
    const { method } = request;
    if (status === 405 || method === "OPTIONS") response.headers.add("Allow", ALLOW);
    if (status < 300 && (method === "INVITE" || method === "UPDATE")) {
      response.headers.add("Contact", `<${contactOf(this.server?.uri ?? request.uri, request)}>`).add("Allow", ALLOW);
      if (request.headers.has("recv-info")) response.headers.add("Recv-Info", "");
      if (changesTo) response.headers.add(SERVICE_HEADER, changesTo.service.id);
      if (body && status >= 200) {
        response.headers.add("Content-Type", body.contentType).add("Content-Disposition", "session");
        response.body = body.content;
      }
    }
    this.write(response);
  }

  private write(message: SipMessage): void {
    this.send(serialize(message));
  }

  private log(session: string, { status, why }: SipAnswer): void {
    const facts = { appServer: this.id, session, status, why };
    this.around.core.peerLog.warn("an app server that speaks HTTP gave no answer of its own", this.id, facts);
  }
}

/** CSeq of the INVITE with which the relay opens a dialog (`dialogTowards`). */
const FIRST_SEQ = 1;

/** The To tag of a dialog: the same for each answer, in each process. */
function tagFor({ callId, fromTag }: SipRequest): string {
  return createHash("sha256").update(`${callId}\n${fromTag}`).digest("hex").slice(0, 24);
}

/** RFC 3261 §12.1.1: a sips Contact for a sips request. */
const contactOf = (uri: string, request: SipRequest): string =>
  isSips(request.uri) ? uri.replace(/^sip:/, "sips:") : uri;

/** The words of a Reason (RFC 3326 §2). */
const textOfReason = (value = ""): string | undefined =>
  /;\s*text="((?:[^"\\]|\\.)*)"/.exec(value)?.[1]?.replace(/\\(.)/g, "$1");
