import {
  type Body,
  type IncomingRequest,
  type IncomingRequestMessage,
  type IncomingResponse,
  type IncomingResponseMessage,
  NonInviteClientTransaction,
  type ResponseOptions,
  type Session,
  type SessionDialog,
  UserAgentClient,
} from "sip.js/lib/core/index.js";
import { SERVICE_HEADER } from "../charging/charges/header-names.ts";
import { finalAnswer, refusalOf } from "./answers.ts";
import { SERVICE_TYPE, SESSION_DISPOSITION, toBody } from "./session-description.ts";
import { SipError } from "./sip-error.ts";
import { ALLOW } from "./user-agent.ts";

/**
 * What a session is to change to: a service by its id, or a description from which the relay's rules find the service.
 */
export interface ServiceChange {
  /** Id of the service, `beer`. */
  readonly service?: string;
  /**
   * The body of the request, from which the relay's rules find the service. Default: `<service name="beer"/>`, with the
   * service's id.
   */
  readonly description?: string;
  /** Media type of `description`. Default `application/vnd.tollgate.service+xml`. */
  readonly contentType?: string;
}

/** How a change is asked for. */
export interface ChangeOptions {
  /** UPDATE is for app servers that decide at once: it is answered within seconds, and cannot ring. Default INVITE. */
  readonly method?: "INVITE" | "UPDATE";
  /**
   * Aborting gives the change up (CANCEL), and the change rejects with 487. It does nothing once the change is decided,
   * and nothing for an UPDATE.
   */
  readonly signal?: AbortSignal;
}

/** A change that the other end asks for. It is open until it is accepted, refused, or given up. */
export interface AskedChange {
  /** Id of the service, as the relay's rules have found it. */
  readonly service: string;
  readonly message: IncomingRequestMessage;
  /** Aborted when the change was given up (CANCEL, BYE) or was not decided in time. */
  readonly signal: AbortSignal;
  /**
   * Resolves when the change is made: with the ACK, or at once for an UPDATE. Rejects with a `SipError` where it is not
   * made.
   */
  accept(body: Body, headers?: readonly string[]): Promise<void>;
  /** Gives a final answer of 400 to 699. Does nothing where the change was decided before. */
  refuse(status: number, reason?: string): void;
}

const ACK_MS = 32_000; // 64*T1
const DECISION_MS = 180_000;
/** Shorter than the relay waits for an answer (`session.silentS`). */
const UPDATE_MS = 5_000;

/** The other end's re-INVITE or UPDATE. */
type Incoming = IncomingRequest & { accept(options?: ResponseOptions): unknown };

/**
 * Changes of the service in one dialog, one at a time. Either end asks by re-INVITE (RFC 3261 §14) or UPDATE (RFC
 * 3311).
 */
export class Changes {
  /** Decides on what the other end asks for. While it is not set, every change is refused. */
  onAsked: ((asked: AskedChange) => void) | undefined;
  private readonly session: SessionDialog;
  private readonly sent: (request: { readonly cseq: number }) => void;
  private readonly gone: () => void;
  private underWay: "local" | "remote" | undefined;
  private giveUp: (() => void) | undefined;
  private acknowledged: (() => void) | undefined;

  /** `sent` is called with each UPDATE, `gone` when the other end no longer knows the session. */
  constructor(session: Session, sent: (request: { readonly cseq: number }) => void, gone: () => void) {
    this.session = session as SessionDialog;
    this.sent = sent;
    this.gone = gone;
  }

  /** Asks the other end; resolves with its success, rejects with its refusal as a `SipError`. */
  ask({ method = "INVITE", signal }: ChangeOptions, body: Body): Promise<IncomingResponseMessage> {
    // RFC 3261 §14.1, RFC 3311 §5.1: one at a time.
    if (this.underWay) return Promise.reject(new SipError(491, "Request Pending", "another change is under way"));
    if (signal?.aborted) return Promise.reject(new SipError(487, "Request Terminated"));
    return new Promise((resolve, reject) => {
      let open = true;
      let cancel = () => {};
      const finish = () => {
        open = false;
        signal?.removeEventListener("abort", cancel);
        this.underWay = this.giveUp = undefined;
      };
      const done = ({ message }: IncomingResponse) => {
        if (!open) return; // a repeated 2xx, perhaps while the next change is under way
        finish();
        const status = message.statusCode ?? 500;
        if (status < 300) return resolve(message);
        reject(refusalOf(message));
        if (status === 481 || status === 408) this.gone(); // RFC 3261 §12.2.1.2
      };
      this.underWay = "local";
      this.giveUp = () => {
        finish();
        reject(new SipError(487, "Request Terminated", "the session ended before it was changed"));
      };
      try {
        cancel = this.send(method, body, done);
        signal?.addEventListener("abort", cancel);
      } catch (error) {
        finish();
        reject(new SipError(491, "Request Pending", (error as Error).message));
      }
    });
  }

  /** Sends the request, and returns a function that cancels it. */
  private send(method: "INVITE" | "UPDATE", body: Body, done: (response: IncomingResponse) => void): () => void {
    const options = { extraHeaders: [this.contact, ALLOW, "Accept: */*", SESSION_DISPOSITION], body };
    if (method === "INVITE") {
      const onAccept = (response: IncomingResponse & { ack(): unknown }) => {
        response.ack();
        done(response);
      };
      const outgoing = this.session.invite({ ...finalAnswer(done), onAccept }, options);
      return () => outgoing.cancel(); // RFC 3261 §9.1; a success that crosses it stands
    }
    // SIP.js has no UPDATE of its own.
    const request = this.session.createOutgoingRequestMessage("UPDATE", options);
    this.sent(request);
    new UserAgentClient(NonInviteClientTransaction, this.session.userAgentCore, request, finalAnswer(done));
    return () => {};
  }

  /**
   * Takes the other end's re-INVITE or UPDATE. A Tollgate-Service header from the relay says that it asks for another
   * service, and for which.
   */
  received(request: Incoming): void {
    const { message } = request;
    const service = message.getHeader(SERVICE_HEADER);
    if (service === undefined || !this.onAsked) {
      // An UPDATE without a body refreshes the session (RFC 3311 §5.2). Anything else is refused: we agree on nothing
      // but services.
      if (message.method === "UPDATE" && !message.body)
        request.accept({ statusCode: 200, extraHeaders: [this.contact] });
      else request.reject({ statusCode: 488 });
    } else if (this.underWay === "local")
      request.reject({ statusCode: 491 }); // RFC 3261 §14.2, RFC 3311 §5.2
    else if (this.underWay === "remote") request.reject({ statusCode: 500, extraHeaders: ["Retry-After: 1"] });
    else this.onAsked(this.open(request, service));
  }

  private open(request: Incoming, service: string): AskedChange {
    const { message } = request;
    const update = message.method === "UPDATE";
    const abort = new AbortController();
    let open = true;
    this.underWay = "remote";
    if (!update) request.trying(); // the decision may take longer than the other end's Timer B (RFC 3261 §17.1.1.2)
    const close = () => {
      if (!open) return false;
      open = false;
      clearTimeout(timer);
      return true;
    };
    const refuse = (status: number, reason?: string) => {
      if (!(status >= 400 && status <= 699)) throw new RangeError(`refuse: ${status} is not a status of 400 to 699`);
      if (reason !== undefined && /[\r\n]/.test(reason)) throw new TypeError("refuse: a reason is one line");
      if (!close()) return;
      this.underWay = this.giveUp = undefined;
      request.reject({ statusCode: status, ...(reason !== undefined && { reasonPhrase: reason }) });
    };
    const giveUp = (status: number) => {
      refuse(status);
      abort.abort();
    };
    const timer = setTimeout(() => giveUp(update ? 504 : 480), update ? UPDATE_MS : DECISION_MS); // RFC 3311 §5.2
    this.giveUp = () => giveUp(487);
    request.delegate = { onCancel: () => giveUp(487) }; // RFC 3261 §9.2
    const accept = async (body: Body, headers: readonly string[] = []) => {
      if (!close()) throw new SipError(487, "Request Terminated", "the change was decided or given up before");
      // With `change: confirmed`, the operator wants more than a 200: this Tollgate-Service header.
      const own = [this.contact, ALLOW, SESSION_DISPOSITION, `${SERVICE_HEADER}: ${service}`];
      request.accept({ statusCode: 200, extraHeaders: [...own, ...headers], body });
      if (!update) await this.ack();
      this.underWay = this.giveUp = undefined;
    };
    return { service, message, signal: abort.signal, accept, refuse };
  }

  private ack(): Promise<void> {
    return new Promise((resolve, reject) => {
      const done = (error?: SipError) => {
        clearTimeout(timer);
        this.acknowledged = this.underWay = this.giveUp = undefined;
        if (error) reject(error);
        else resolve();
      };
      // RFC 3261 §14.2: without an ACK the session is ended.
      const timer = setTimeout(() => {
        done(new SipError(408, "Request Timeout", "no ACK to the change"));
        this.gone();
      }, ACK_MS);
      this.acknowledged = () => done();
      this.giveUp = () => done(new SipError(487, "Request Terminated", "the session ended before the change stood"));
    });
  }

  /** An ACK in the dialog. */
  acked(): void {
    this.acknowledged?.();
  }

  /** The session is over: gives up the change that is under way (RFC 3261 §15.1.2). */
  end(): void {
    this.giveUp?.();
  }

  private get contact(): string {
    return `Contact: ${this.session.userAgentCore.configuration.contact.toString()}`;
  }
}

/** The body that asks for a service. Throws a `TypeError` where neither its id nor a description is given. */
export function changeBody({ service, description, contentType = SERVICE_TYPE }: ServiceChange): Body {
  if (description !== undefined) return toBody({ contentType, content: description });
  if (service === undefined) throw new TypeError("change: a service or a description is needed");
  return toBody({ contentType: SERVICE_TYPE, content: `<service name="${escaped(service)}"/>` });
}

const ENTITIES: Readonly<Record<string, string>> = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" };
const escaped = (text: string) => text.replace(/[&<>"]/g, (c) => ENTITIES[c]!);
