import type {
  AckableIncomingResponseWithSession,
  IncomingResponse,
  OutgoingInviteRequest,
  URI,
} from "sip.js/lib/core/index.js";
import { finalAnswer, refusalOf } from "./answers.ts";
import type { ClientSession, RequestAllOptions, ServiceRequestOptions } from "./client-api.ts";
import { headerLine, type Link, track } from "./client-link.ts";
import { clientSession } from "./client-session.ts";
import { Dialog } from "./dialog.ts";
import { accessOf, descriptionOf, SERVICE_TYPE, SESSION_DISPOSITION, toBody } from "./session-description.ts";
import { SipError } from "./sip-error.ts";
import { token } from "./token.ts";
import { ALLOW } from "./user-agent.ts";

const CANCEL_WAIT_MS = 32_000;
const FURTHER_MS = 2_000;
const MOST = 50;

interface Wanted {
  readonly aor: URI;
  readonly target: URI;
  readonly service: string;
  readonly options: ServiceRequestOptions;
  /** Set where every success is wanted; undefined where only the first is. */
  readonly all: RequestAllOptions | undefined;
}

/**
 * Sends the INVITE, waits for its successes and acknowledges each (RFC 3261 §13.2). Resolves with at least one session;
 * rejects with the refusal.
 */
export function invite(link: Link, wanted: Wanted): Promise<ClientSession[]> {
  const { service, all } = wanted;
  const { signal, onProgress } = wanted.options;
  const max = all ? (all.max ?? MOST) : 1;
  if (!(Number.isInteger(max) && max > 0))
    throw new RangeError(`requestAll: max is a whole number from 1; found ${max}`);
  const message = inviteMessage(link, wanted);
  return new Promise((resolve, reject) => {
    const sessions: ClientSession[] = [];
    let outgoing: OutgoingInviteRequest | undefined;
    let taken = 0;
    let open = true;
    let cancelled = false;
    let timer: NodeJS.Timeout | undefined;
    const settle = () => {
      open = false;
      link.pending.delete(giveUp);
      signal?.removeEventListener("abort", cancel);
      clearTimeout(timer);
    };
    const enough = () => {
      settle();
      resolve(sessions);
    };
    const fail = (error: SipError) => {
      settle();
      reject(error);
    };
    const giveUp = (reason: string) => {
      if (sessions.length > 0) return enough();
      if (!cancelled && link.connection.open) outgoing?.cancel();
      cancelled = true;
      fail(new SipError(503, "Service Unavailable", reason));
    };
    const cancel = () => {
      if (sessions.length > 0) return enough(); // CANCEL does not end an answered request (RFC 3261 §9.1)
      cancelled = true;
      outgoing?.cancel();
      // RFC 3261 §9.1: without a final answer in 64*T1 the request counts as cancelled.
      timer = setTimeout(() => fail(new SipError(487, "Request Terminated", "no answer to CANCEL")), CANCEL_WAIT_MS);
    };
    const accepted = (response: AckableIncomingResponseWithSession) => {
      response.ack();
      const dialog = track(link, new Dialog(response.session, "uac"));
      if (cancelled || taken === max || !(open || all?.onSession)) {
        // The answer crossed our CANCEL, or comes from a further branch: the session is not wanted, and gets a BYE (RFC
        // 3261 §13.2.2.4).
        void dialog.bye();
        if (cancelled) fail(new SipError(487, "Request Terminated"));
        return;
      }
      taken++;
      const session = clientSession(link, dialog, service, accessOf(descriptionOf(response.message)));
      if (open) {
        sessions.push(session);
        if (taken === max) enough();
        else timer ??= setTimeout(enough, all?.waitMs ?? FURTHER_MS);
      }
      all?.onSession?.(session);
    };

    link.pending.add(giveUp);
    signal?.addEventListener("abort", cancel);
    outgoing = link.agent.core.invite(message, {
      ...finalAnswer(({ message: answer }: IncomingResponse) => fail(refusalOf(answer))),
      onAccept: accepted,
      onProgress: ({ message: answer }) => onProgress?.(answer.statusCode ?? 100, answer.reasonPhrase ?? ""),
    });
  });
}

function inviteMessage(link: Link, { aor, target, options }: Wanted) {
  const { description, contentType = SERVICE_TYPE, headers = {} } = options;
  const extraHeaders = [`Contact: ${link.agent.contact}`, ALLOW, "Accept: */*"];
  for (const [name, value] of Object.entries(headers)) extraHeaders.push(headerLine(name, value));
  if (description !== undefined) extraHeaders.push(SESSION_DISPOSITION);
  const identifiers = { callId: token(), fromTag: token(64) };
  const body = description === undefined ? undefined : toBody({ contentType, content: description });
  return link.agent.core.makeOutgoingRequestMessage("INVITE", target, aor, target, identifiers, extraHeaders, body);
}
