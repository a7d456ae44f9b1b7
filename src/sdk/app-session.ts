import type { Body, Session } from "sip.js/lib/core/index.js";
import { formatChargeBody, PACKAGE } from "../charging/charges/body.ts";
import { SERVICE_HEADER, SESSION_HEADER } from "../charging/charges/header-names.ts";
import type { Charge } from "../charging/events/charge-fields.ts";
import type { Logger } from "../support/log.ts";
import type { AppSession, ChargeInput, EndCallback, ServiceHandler, ServiceRequest } from "./app-api.ts";
import { attributesOf } from "./attributes.ts";
import { type AskedChange, changeBody } from "./changes.ts";
import { Dialog, referTo } from "./dialog.ts";
import { acceptanceBody, descriptionOf } from "./session-description.ts";
import { SipError } from "./sip-error.ts";
import { token } from "./token.ts";

const END_CALLBACK_MS = 5000;

export interface AppSessionFacts {
  readonly service: string;
  readonly user: string | undefined;
  /** Whether the other side offered the charging package in Recv-Info (RFC 6086 §4.2.1). */
  readonly chargePackage: boolean;
  readonly tollgateSession: string | undefined;
  /** Reports charges after the dialog's end; undefined: they cannot be reported then. */
  readonly late: ((body: Body, session: string | undefined) => Promise<void>) | undefined;
  readonly handlerOf: (service: string) => ServiceHandler | undefined;
  readonly logger: Logger | undefined;
  /** Told of charges that the relay refused: whoever made them is told, too. */
  readonly refused: (why: string) => void;
  /** Told of charges that do not reach the bill since an end callback threw or took too long: nobody else is told. */
  readonly warn: (why: string) => void;
}

/** Makes the app server's session, and its dialog, of the SIP.js session that our 2xx has made. */
export function createAppSession(
  session: Session,
  facts: AppSessionFacts,
): { readonly dialog: Dialog; readonly app: AppSession } {
  const callbacks: EndCallback[] = [];
  const dialog = new Dialog(session, "uas", async () => {
    // The BYE may have come in one piece with the ACK. The handler that awaits the session has to register its
    // callbacks first.
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
      const ids = (async () => charge(dialog, inputs.map(complete), facts, now.tollgateSession))();
      ids.catch((error: Error) => facts.refused(`a charge was refused: ${error.message}`)); // even if nobody waits
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

/** Reports charges in one INFO (RFC 6086), or in one MESSAGE where the dialog is over, or ends meanwhile (481). */
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
        // RFC 6086 §4.2.1: a package is named only where the other side offered it. Without one this is a legacy INFO.
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

/** Runs the callbacks side by side. One that fails or hangs does not hold back the 200 or the others. */
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

/**
 * Fills in the defaults: a random id, and the quantity 1. Throws a `TypeError` where the price is no string: 0.1 + 0.2
 * is no price.
 */
export function complete(input: ChargeInput): Charge {
  const { id = token(), item, unitPrice, quantity = "1", currency } = input;
  if (typeof unitPrice !== "string")
    throw new TypeError(
      `unitPrice: expected a decimal as text, such as "24.50"; found ${typeof unitPrice} ${unitPrice}`,
    );
  if (typeof quantity === "number" && !Number.isInteger(quantity))
    throw new TypeError(`quantity: expected a whole number, or a decimal as text, such as "0.75"; found ${quantity}`);
  return { id, item, unitPrice, quantity: String(quantity), currency };
}
