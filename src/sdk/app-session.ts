import type { Body, Session } from "sip.js/lib/core/index.js";
import { formatChargeBody, PACKAGE, SERVICE_HEADER, SESSION_HEADER } from "../charging/charges/body.ts";
import type { Charge } from "../charging/events/charge-fields.ts";
import type { Logger } from "../support/log.ts";
import { systemRandom } from "../support/random.ts";
import { type AskedChange, type ChangeOptions, changeBody, type ServiceChange } from "./changes.ts";
import type { ServiceHandler, ServiceRequest } from "./decision.ts";
import { Dialog, type Ending, referTo } from "./dialog.ts";
import { acceptanceBody, attributesOf, descriptionOf } from "./session-description.ts";
import { SipError } from "./sip-error.ts";

const END_CALLBACK_MS = 5000;

/** What the app server charges (M14). An id of one's own makes it safe to send a charge again: the same id charges once in a session. */
export interface ChargeInput {
  readonly id?: string;
  readonly item: string;
  /** Decimal string, "24.50": never a float. */
  readonly unitPrice: string;
  /** Default "1". */
  readonly quantity?: string | number;
  /** ISO 4217. */
  readonly currency: string;
}

/** Called when the client hangs up; the charges that it returns go into the body of the 200 to BYE (M16). It has 5 seconds. */
export type EndCallback = () => readonly ChargeInput[] | undefined | Promise<readonly ChargeInput[] | undefined>;

export interface ReferOptions {
  /** Whether this session goes on beside the new one (M24); default: as the relay has it for the service. */
  readonly keep?: boolean;
}

/** A session as the app server sees it. */
export interface AppSession {
  /** Call-ID of the relay's leg. */
  readonly id: string;
  /** What the relay calls the session (its Tollgate-Session header): charges by HTTPS name it. Another one after a change. */
  readonly tollgateSession: string | undefined;
  /** Follows a change. */
  readonly service: string;
  /** Identity of the subscriber, `sip:alice@portal.com`, as the relay vouches for it; undefined: it does not. */
  readonly user: string | undefined;
  /**
   * Reports charges in one INFO (M14), or after the session's end in one MESSAGE (M15; `AppServerOptions.charging`), and resolves with their ids when the relay has recorded them. Rejects with a `SipError`: none of them was charged.
   */
  charge(...charges: readonly ChargeInput[]): Promise<string[]>;
  /**
   * Sends the client on to a partner by REFER (M23), a service of the portal or the partner's own `sip:beer@10.0.0.7:5080`, and resolves when it has a
   * session there. Rejects with a `SipError`: 403 where the operator does not allow it, or why it came to nothing; this session then goes on.
   */
  refer(to: string, options?: ReferOptions): Promise<void>;
  /**
   * Changes to another service that this server offers as well (M22), when the client agrees: `beer`, or a description of which the relay's rules make a
   * service. Resolves when it stands. Rejects with a `SipError`: 403 where this server does not offer it, 491 where another change is under way, or the
   * client's refusal; the session then goes on as it was.
   */
  change(to: string | ServiceChange, options?: ChangeOptions): Promise<void>;
  /**
   * Decides when the client asks this server for another service within this session (M20); its `accept` gives this same session. Without it, whoever
   * is registered for that service at this server decides as about a new session, and nobody: 488. One that throws refuses with 500.
   */
  onChange(handler: ServiceHandler): void;
  /** Hangs up (M11); resolves when the answer to BYE is there. */
  end(): Promise<Ending>;
  /** Registers what is to be charged at the end when the client hangs up: to be called as soon as the session stands. */
  onEnd(callback: EndCallback): void;
  /** Resolves once, however the session ends; never rejects. */
  readonly ended: Promise<Ending>;
}

export interface AppSessionFacts {
  readonly service: string;
  readonly user: string | undefined;
  /** The other side offered the charging package in Recv-Info (RFC 6086 §4.2.1). */
  readonly chargePackage: boolean;
  readonly tollgateSession: string | undefined;
  /** Reports charges when the dialog has ended (M15); undefined: there is no way then. */
  readonly late: ((body: Body, session: string | undefined) => Promise<void>) | undefined;
  readonly handlerOf: (service: string) => ServiceHandler | undefined;
  readonly logger: Logger | undefined;
  /** Told of charges that do not reach the bill: refused by the relay, or an end callback that threw or took too long. */
  readonly warn: (why: string) => void;
}

/** Wraps the dialog that our 2xx has made. */
export function createAppSession(
  session: Session,
  facts: AppSessionFacts,
): { readonly dialog: Dialog; readonly app: AppSession } {
  const callbacks: EndCallback[] = [];
  const dialog = new Dialog(session, "uas", async () => {
    // The BYE may have come in one piece with the ACK: whoever waits for the session first gets to register its callbacks.
    await new Promise(setImmediate);
    const charges = await chargesAtEnd(callbacks, facts.warn);
    if (charges.length === 0) return { statusCode: 200 };
    return {
      statusCode: 200,
      body: chargeBody(charges, "render"),
    };
  });
  const now = { service: facts.service, tollgateSession: facts.tollgateSession };
  let decide: ServiceHandler | undefined;
  dialog.onChange((asked) => {
    const handler = decide ?? facts.handlerOf(asked.service);
    if (!handler) return asked.refuse(488);
    const stands = () => {
      now.service = asked.service;
      now.tollgateSession = asked.message.getHeader(SESSION_HEADER) ?? now.tollgateSession;
      return app;
    };
    void (async () => handler(serviceRequest(asked, facts.user, stands)))().catch((error) => {
      if (!(error instanceof SipError)) facts.logger?.error({ err: error }, "a service handler failed");
      asked.refuse(500);
    });
  });
  const app: AppSession = {
    id: session.callId,
    get tollgateSession() {
      return now.tollgateSession;
    },
    get service() {
      return now.service;
    },
    user: facts.user,
    charge: (...inputs) => {
      const ids = charge(dialog, inputs.map(complete), facts, now.tollgateSession);
      ids.catch((error: Error) => facts.warn(`a charge was refused: ${error.message}`)); // also for who does not wait
      return ids;
    },
    refer: async (to, { keep } = {}) => dialog.refer(referTo(to, keep)),
    change: async (to, options = {}) => {
      const wanted = typeof to === "string" ? { service: to } : to;
      const answer = await dialog.change(options, changeBody(wanted));
      now.service = answer.getHeader(SERVICE_HEADER) ?? wanted.service ?? now.service;
      now.tollgateSession = answer.getHeader(SESSION_HEADER) ?? now.tollgateSession;
    },
    onChange: (handler) => {
      decide = handler;
    },
    end: () => dialog.bye(),
    onEnd: (callback) => void callbacks.push(callback),
    ended: dialog.ended,
  };
  return { dialog, app };
}

function serviceRequest(asked: AskedChange, user: string | undefined, stands: () => AppSession): ServiceRequest {
  const { service, message, signal, refuse } = asked;
  return {
    service,
    user,
    description: descriptionOf(message),
    ...attributesOf(message),
    header: (name) => message.getHeader(name),
    signal,
    accept: (acceptance = {}) => {
      const standing = asked.accept(acceptanceBody(acceptance)).then(stands);
      standing.catch(() => {}); // for a handler that does not wait
      return standing;
    },
    refuse,
  };
}

/** Reports charges in one INFO (RFC 6086), or in one MESSAGE where the dialog is over, or ends in this moment. */
async function charge(
  dialog: Dialog,
  charges: readonly Charge[],
  facts: AppSessionFacts,
  session: string | undefined,
): Promise<string[]> {
  const { chargePackage, late } = facts;
  const ids = charges.map(({ id }) => id);
  if (!dialog.over || !late) {
    try {
      await dialog.info({
        // RFC 6086 §4.2.1: a package only where the other side offered it; without one it is a legacy INFO.
        extraHeaders: chargePackage ? [`Info-Package: ${PACKAGE}`, "Content-Disposition: Info-Package"] : [],
        body: chargeBody(charges, "info-package"),
      });
      return ids;
    } catch (error) {
      if (!late || !(error instanceof SipError) || error.status !== 481) throw error;
    }
  }
  await late(chargeBody(charges, "render"), session);
  return ids;
}

function chargeBody(charges: readonly Charge[], contentDisposition: string): Body {
  const { contentType, body } = formatChargeBody(charges);
  return { contentDisposition, contentType, content: body };
}

/** Runs the callbacks side by side; one that fails or hangs keeps neither the 200 nor the others back. */
async function chargesAtEnd(callbacks: readonly EndCallback[], warn: (why: string) => void): Promise<Charge[]> {
  const all = await Promise.all(callbacks.map((callback) => inTime(callback, warn)));
  return all.flat().map(complete);
}

async function inTime(callback: EndCallback, warn: (why: string) => void): Promise<readonly ChargeInput[]> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no charges after ${END_CALLBACK_MS / 1000} s`)), END_CALLBACK_MS);
  });
  try {
    return (await Promise.race([(async () => callback())(), late])) ?? [];
  } catch (error) {
    warn(`charges at the end are lost: ${(error as Error).message}`);
    return [];
  } finally {
    clearTimeout(timer);
  }
}

/** With an id of its own where it has none. */
export function complete(input: ChargeInput): Charge {
  const { id = systemRandom.token(), item, unitPrice, quantity = "1", currency } = input;
  return { id, item, unitPrice, quantity: String(quantity), currency };
}
