import {
  type Body,
  type IncomingByeRequest,
  type IncomingNotifyRequest,
  type IncomingResponse,
  type IncomingResponseMessage,
  NonInviteClientTransaction,
  type OutgoingRequestMessage,
  type RequestOptions,
  type ResponseOptions,
  type Session,
  UserAgentClient,
  type UserAgentCore,
} from "sip.js/lib/core/index.js";
import { readFragStatus } from "../sip/frag-status.ts";
import { finalAnswer, refusalOf, textOf } from "./answers.ts";
import { type AskedChange, type ChangeOptions, Changes } from "./changes.ts";
import { type Description, descriptionOf } from "./session-description.ts";
import { SipError } from "./sip-error.ts";
import type { SessionDelegateWithUpdate } from "./update.ts";

/** How a session ended, the same for both sides. */
export interface Ending {
  /**
   * `local`: this side hung up. `remote`: the other side or the relay did. `connection`: the connection to the relay
   * was lost.
   */
  readonly by: "local" | "remote" | "connection";
  /**
   * Status of the answer to our BYE: 200, 481 where the other side did not know the session, 408 where no answer came,
   * 503 where the BYE could not be sent.
   */
  readonly status?: number;
  /** Reason header of the other side's BYE (RFC 3326), or why the connection was lost. */
  readonly reason?: string;
  /** Body of the answer to our BYE, where there is one. */
  readonly body?: Description;
}

/** Builds the answer to the other side's BYE; resolves in bounded time and does not reject. */
export type ByeAnswer = () => Promise<ResponseOptions>;

const OK: ResponseOptions = { statusCode: 200 };

/** One dialog (RFC 3261 §12) on SIP.js' core: requests within it, and its end by either side. */
export class Dialog {
  readonly session: Session;
  /** Resolves once, however the session ends; never rejects. */
  readonly ended: Promise<Ending>;
  private settle!: (ending: Ending) => void;
  private state: "confirmed" | "ack-wait" | "ending" | "ended";
  /** What our BYE was sent with, as long as it has no answer. */
  private hangsUp: RequestOptions | undefined;
  /** Called with the reports about the REFER that is under way. */
  private report: ((status: number, reason: string) => void) | undefined;
  /** The REFER or UPDATE sent last. */
  private lastSent: { readonly cseq: number } | undefined;
  private readonly changes: Changes;
  private readonly acked: Promise<boolean>;
  private settleAcked!: (acked: boolean) => void;

  /** `role` is uas where we answered the INVITE, and its ACK is still to come. */
  constructor(session: Session, role: "uac" | "uas", answerBye: ByeAnswer = () => Promise.resolve(OK)) {
    this.session = session;
    this.state = role === "uac" ? "confirmed" : "ack-wait";
    this.ended = new Promise((resolve) => {
      this.settle = resolve;
    });
    this.acked = new Promise((resolve) => {
      this.settleAcked = resolve;
    });
    if (role === "uac") this.settleAcked(true);
    const sent = (request: { readonly cseq: number }) => {
      this.lastSent = request;
    };
    this.changes = new Changes(session, sent, () => void this.bye());
    const delegate: SessionDelegateWithUpdate = {
      onAck: () => {
        this.settleConfirmed();
        this.changes.acked();
      },
      onInvite: (request) => this.changes.received(request),
      onUpdate: (request) => this.changes.received(request),
      // RFC 3261 §13.3.1.4: no ACK in 64*T1, the session is ended with BYE.
      onAckTimeout: () => void this.bye({ extraHeaders: ['Reason: SIP;cause=408;text="No ACK"'] }),
      onNotify: (request) => this.receiveNotify(request),
      onBye: (request) => void this.receiveBye(request, answerBye),
    };
    session.delegate = delegate;
  }

  get over(): boolean {
    return this.state === "ending" || this.state === "ended";
  }

  /** True once the ACK is there, false where the session ended before. */
  confirmed(): Promise<boolean> {
    return this.acked;
  }

  /**
   * Hangs up. Resolves when the answer to BYE has come, or when none can come any more. A second call waits for the
   * first.
   */
  bye(options?: RequestOptions): Promise<Ending> {
    if (this.over) return this.ended;
    const early = this.state === "ack-wait";
    this.state = "ending";
    const send = () => {
      this.catchUp();
      this.hangsUp = options ?? {};
      try {
        this.session.bye(
          finalAnswer((response) => this.end(endingOf(response))),
          options,
        );
      } catch (error) {
        this.end({ by: "local", reason: (error as Error).message });
      }
    };
    if (!early || this.session.sessionState !== "AckWait") send();
    else {
      // RFC 3261 §15: the callee must not send BYE before the ACK has come, or the wait for it is over.
      const delegate = this.session.delegate!;
      delegate.onAck = delegate.onAckTimeout = send;
    }
    return this.ended;
  }

  /** Sends an INFO (RFC 6086); rejects with the other side's refusal. */
  info(options: RequestOptions): Promise<void> {
    if (this.over) return Promise.reject(new SipError(481, "Call/Transaction Does Not Exist", "the session has ended"));
    return new Promise((resolve, reject) => {
      const done = ({ message }: IncomingResponse) => {
        const status = message.statusCode ?? 500;
        if (status < 300) return resolve();
        reject(refusalOf(message));
        // RFC 3261 §12.2.1.2: the other side does not know the dialog or does not answer, so the dialog is ended.
        if (status === 481 || status === 408) void this.bye();
      };
      this.session.info(finalAnswer(done), options);
    });
  }

  /**
   * Sends a REFER (RFC 3515). Resolves when the move has succeeded. Rejects with the refusal of the REFER, or of the
   * INVITE that it led to. `onReport` is called with provisional states.
   */
  refer(to: string, options: RequestOptions = {}, onReport?: (status: number, reason: string) => void): Promise<void> {
    if (this.over) return Promise.reject(new SipError(481, "Call/Transaction Does Not Exist", "the session has ended"));
    if (this.report) return Promise.reject(new SipError(491, "Request Pending", "another move is under way"));
    return new Promise((resolve, reject) => {
      const fail = (status: number, reason: string, detail?: string) => {
        this.report = undefined;
        this.catchUp();
        reject(new SipError(status, reason, detail));
      };
      this.report = (status, reason) => {
        if (status < 200) return onReport?.(status, reason);
        if (status >= 300) return fail(status, reason);
        this.report = undefined;
        resolve();
      };
      const refused = ({ message }: IncomingResponse) =>
        fail(message.statusCode ?? 500, message.reasonPhrase ?? "", textOf(descriptionOf(message)));
      this.lastSent = this.session.refer(
        { onAccept: () => this.catchUp(), onRedirect: refused, onReject: refused },
        { ...options, extraHeaders: [`Refer-To: ${to}`, ...(options.extraHeaders ?? [])] },
      ).message;
      void this.ended.then(() => fail(481, "Call/Transaction Does Not Exist", "the session ended before it was moved"));
    });
  }

  /**
   * Asks the other end for another service. Resolves with its success, and rejects with its refusal. The session goes
   * on either way.
   */
  change(options: ChangeOptions, body: Body): Promise<IncomingResponseMessage> {
    if (this.over) return Promise.reject(new SipError(481, "Call/Transaction Does Not Exist", "the session has ended"));
    this.catchUp();
    return this.changes.ask(options, body).finally(() => this.catchUp());
  }

  /** Sets who decides when the other end asks for another service. */
  onChange(asked: (change: AskedChange) => void): void {
    this.changes.onAsked = asked;
  }

  /**
   * Shows the relay by which connection we are reached now: OPTIONS in the dialog, which changes nothing (RFC 3261
   * §11). The session ends where the relay does not know it any more. Where our BYE had no answer yet, it is sent again
   * by the new connection: its answer can come by no other.
   */
  comeBack(): void {
    if (this.over && !this.hangsUp) return;
    this.catchUp();
    const { userAgentCore } = this.session as unknown as { readonly userAgentCore: UserAgentCore };
    const dialog = this.session as unknown as {
      createOutgoingRequestMessage(method: string, options?: RequestOptions): OutgoingRequestMessage;
    };
    const message = this.hangsUp
      ? dialog.createOutgoingRequestMessage("BYE", this.hangsUp)
      : dialog.createOutgoingRequestMessage("OPTIONS");
    const done = (response: IncomingResponse) => {
      if (this.hangsUp) this.end(endingOf(response));
      else if (response.message.statusCode === 481) this.lost("the relay does not know the session any more");
    };
    new UserAgentClient(NonInviteClientTransaction, userAgentCore, message, finalAnswer(done));
  }

  /** The connection is gone, and the session with it. */
  lost(reason: string): void {
    if (this.state === "ended") return;
    this.end({ by: "connection", reason });
    this.session.dispose();
  }

  private settleConfirmed(): void {
    if (this.state === "ack-wait") this.state = "confirmed";
    this.settleAcked(true);
  }

  /**
   * When SIP.js repeats a REFER or UPDATE with credentials, it takes the next CSeq number, but does not count it in the
   * dialog. Counted here, or the next request would use the number again.
   */
  private catchUp(): void {
    const dialog = this.session as unknown as { localSequenceNumber: number; incrementLocalSequenceNumber(): void };
    const sent = this.lastSent?.cseq ?? 0;
    while (dialog.localSequenceNumber < sent) dialog.incrementLocalSequenceNumber();
  }

  /** RFC 3515 §2.4.4: the body is the start of a SIP message, whose status says how the move is going. */
  private receiveNotify(request: IncomingNotifyRequest): void {
    const event = request.message.getHeader("event")?.split(";", 1)[0]?.trim().toLowerCase();
    if (event !== "refer") return void request.reject({ statusCode: 489 });
    request.accept();
    const read = readFragStatus(request.message.body ?? "");
    if (read.ok) this.report?.(read.value.status, read.value.reason);
  }

  private async receiveBye(request: IncomingByeRequest, answer: ByeAnswer): Promise<void> {
    this.state = "ending";
    this.changes.end();
    const reason = request.message.getHeader("reason");
    request.accept(await answer());
    this.end(reason === undefined ? { by: "remote" } : { by: "remote", reason });
  }

  private end(ending: Ending): void {
    this.state = "ended";
    this.hangsUp = undefined;
    this.changes.end();
    this.settle(ending);
    this.settleAcked(false);
  }
}

function endingOf({ message }: IncomingResponse): Ending {
  const body = descriptionOf(message);
  const status = message.statusCode ?? 500;
  return body ? { by: "local", status, body } : { by: "local", status };
}

/** Waits for all of them, but not longer than `ms`. */
export async function within(ms: number, all: readonly Promise<unknown>[]): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, ms);
  });
  await Promise.race([Promise.allSettled(all), late]);
  clearTimeout(timer);
}

/** Value of Refer-To. Its parameter `first` tells the relay what is to become of the present session. */
export function referTo(uri: string, keep: boolean | undefined): string {
  if (!/^sips?:[^<>"\s]+$/i.test(uri)) throw new TypeError(`refer: ${uri} is not a SIP URI`);
  return `<${uri}>${keep === undefined ? "" : `;first=${keep ? "keep" : "end"}`}`;
}
