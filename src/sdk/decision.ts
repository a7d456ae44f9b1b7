import {
  Grammar,
  type IncomingInviteRequest,
  type IncomingRequestMessage,
  type ResponseOptions,
} from "sip.js/lib/core/index.js";
import { PACKAGE } from "../charging/charges/body.ts";
import { SESSION_HEADER } from "../charging/charges/header-names.ts";
import type { Logger } from "../support/log.ts";
import type { AppSession, ServiceHandler } from "./app-api.ts";
import { createAppSession } from "./app-session.ts";
import { attributesOf } from "./attributes.ts";
import type { Dialog } from "./dialog.ts";
import { type ChargesTarget, reportLate } from "./late-charges.ts";
import { type Acceptance, acceptanceBody, descriptionOf, SESSION_DISPOSITION } from "./session-description.ts";
import { SipError } from "./sip-error.ts";

const DECISION_MS = 180_000;
export const RETRY_AFTER_S = 5;

export interface DecisionOptions {
  readonly services: Readonly<Record<string, ServiceHandler>>;
  readonly logger: Logger | undefined;
  /** The sessions that there are. */
  readonly dialogs: Set<Dialog>;
  readonly late: ChargesTarget | undefined;
}

/** An INVITE on which the app server has not decided yet. */
export class Decision {
  readonly made: Promise<void>;
  private readonly invite: IncomingInviteRequest;
  private readonly service: string;
  private readonly options: DecisionOptions;
  /** Who asks: from P-Asserted-Identity, or from the proof. */
  user: string | undefined;
  private readonly abort = new AbortController();
  private readonly timer: NodeJS.Timeout;
  private settle!: () => void;
  private open = true;
  /** The session, once the request was accepted. */
  private dialog: Dialog | undefined;

  constructor(invite: IncomingInviteRequest, service: string, options: DecisionOptions) {
    this.options = options;
    this.invite = invite;
    this.service = service;
    this.user = assertedIn(invite.message);
    this.made = new Promise((resolve) => {
      this.settle = resolve;
    });
    this.timer = setTimeout(() => this.refuse(480), DECISION_MS);
    invite.delegate = {
      onCancel: () => {
        this.refuse(487); // RFC 3261 §9.2
        this.abort.abort();
      },
    };
  }

  async ask(handler: ServiceHandler): Promise<void> {
    if (!this.open) return; // given up while the proof was checked
    this.invite.progress({ statusCode: 180, extraHeaders: recvInfo(this.invite.message) });
    try {
      await handler({
        service: this.service,
        user: this.user,
        description: descriptionOf(this.invite.message),
        ...attributesOf(this.invite.message),
        header: (name) => this.invite.message.getHeader(name),
        signal: this.abort.signal,
        accept: (acceptance) => {
          const session = this.accept(acceptance);
          // A handler may not wait for it, and a client that hangs up early must not end the process.
          session.catch(() => {});
          return session;
        },
        refuse: (status, reason) => this.refuse(status, reason),
      });
    } catch (error) {
      // No log line where the handler accepted a request that was given up meanwhile: nothing is wrong with the
      // handler.
      const { dialog } = this;
      const standing = dialog && !dialog.over;
      if (this.open || standing || !(error instanceof SipError))
        this.options.logger?.error({ err: error, service: this.service }, "a service handler failed");
      this.refuse(500);
      if (standing) void dialog.bye({ extraHeaders: ['Reason: SIP;cause=500;text="the service failed"'] });
    }
  }

  refuse(status: number, reason?: string): void {
    if (!(status >= 300 && status <= 699)) throw new RangeError(`refuse: ${status} is not a status of 300 to 699`);
    if (reason !== undefined && /[\r\n]/.test(reason)) throw new TypeError("refuse: a reason is one line");
    if (!this.close()) return;
    const answer: ResponseOptions =
      reason === undefined ? { statusCode: status } : { statusCode: status, reasonPhrase: reason };
    if (status === 503) answer.extraHeaders = [`Retry-After: ${RETRY_AFTER_S}`];
    if (status < 400) this.invite.redirect([], answer);
    else this.invite.reject(answer);
  }

  async accept(acceptance: Acceptance = {}): Promise<AppSession> {
    const body = acceptanceBody(acceptance);
    if (!this.close()) throw new SipError(487, "Request Terminated", "the request was decided or given up before");
    const { message } = this.invite;
    // SIP.js wants a body in every 2xx that it sends. Without a URL, this is an empty access body.
    const { session } = this.invite.accept({
      statusCode: 200,
      extraHeaders: [SESSION_DISPOSITION, ...recvInfo(message)],
      body,
    });
    const { late, logger, services, dialogs } = this.options;
    const { dialog, app } = createAppSession(session, {
      tollgateSession: message.getHeader(SESSION_HEADER),
      late: late && ((charges, part) => reportLate(late, message, part, charges)),
      handlerOf: (service) => (Object.hasOwn(services, service) ? services[service] : undefined),
      logger,
      service: this.service,
      user: this.user,
      chargePackage: offersCharging(message),
      refused: (why) => logger?.warn({ session: session.callId, service: this.service }, why),
      warn: (why) => logger?.error({ session: session.callId, service: this.service }, why),
    });
    this.dialog = dialog;
    dialogs.add(dialog);
    void dialog.ended.then(() => dialogs.delete(dialog));
    if (!(await dialog.confirmed()))
      throw new SipError(408, "Request Timeout", "the session ended before its ACK came");
    return app;
  }

  private close(): boolean {
    if (!this.open) return false;
    this.open = false;
    clearTimeout(this.timer);
    this.settle();
    return true;
  }
}

function assertedIn(message: IncomingRequestMessage): string | undefined {
  const asserted = message.getHeader("p-asserted-identity");
  const read = asserted === undefined ? undefined : Grammar.nameAddrHeaderParse(asserted);
  return read?.uri.toRaw();
}

/** RFC 6086 §5.2.3: a Recv-Info is answered with one. Ours is empty, because we take no INFO of any package. */
const recvInfo = (message: IncomingRequestMessage) => (message.hasHeader("recv-info") ? ["Recv-Info:"] : []);

function offersCharging(message: IncomingRequestMessage): boolean {
  const packages = message.getHeaders("recv-info").flatMap((value) => value.split(","));
  return packages.some((name) => name.split(";", 1)[0]!.trim().toLowerCase() === PACKAGE);
}
