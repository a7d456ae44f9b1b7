import type { Failure, Side } from "../../../machines/events.ts";
import { SipResponse } from "../../sip/message.ts";
import { asReasonPhrase, reasonPhrase } from "../../sip/response.ts";
import type { Border } from "../dialog/border.ts";
import { meansGone } from "../dialog/outcomes.ts";
import { ALLOW } from "../dialog/passing.ts";
import type { Core } from "../model/core.ts";
import { isRedirection, LEADS_NOWHERE, portalContacts } from "./redirect.ts";

/** The answers of app servers that refused a request, and what the client hears of them. */
export class Refusals {
  /** The answers that redirect. */
  readonly redirections: SipResponse[] = [];
  private readonly core: Core;
  private readonly byBranch = new Map<string, SipResponse>();

  constructor(core: Core) {
    this.core = core;
  }

  /** An app server has refused its branch with that answer. Returns what it means for the request. */
  add(branch: string, said: SipResponse, failure: Failure): Failure {
    if (isRedirection(said.status)) {
      this.redirections.push(said);
      return LEADS_NOWHERE; // unless the relay goes on there
    }
    this.byBranch.set(branch, said);
    return failure;
  }

  /**
   * The answer to the client: made of the answer of the app server that the failure names, as far as it may cross; else
   * the relay's own.
   */
  answer(failure: Failure): SipResponse {
    const said = failure.branch === undefined ? undefined : this.byBranch.get(failure.branch);
    if (!said) return refusal(failure);
    const { border } = this.core;
    const response = refusal({ ...failure, reason: phraseOf(border, said, failure.status, "client") }, (it) => {
      border.pass(said, it, "client");
      withoutRest(said, it);
    });
    // The Contacts of a 485 are a choice for the caller, and not the target of a dialog (RFC 3261 §21.4.23).
    if (said.status === 485)
      for (const contact of portalContacts(this.core, said)) response.headers.add("Contact", contact);
    if (isChallenge(said)) this.addChallenges(said, response);
    return response;
  }

  /**
   * RFC 3261 §16.7, step 7: the client hears of every challenge. Its credentials for other realms than the relay's are
   * passed on.
   */
  private addChallenges(said: SipResponse, { headers }: SipResponse): void {
    for (const other of this.byBranch.values()) {
      if (other === said || !isChallenge(other)) continue;
      for (const name of ["WWW-Authenticate", "Proxy-Authenticate"] as const)
        for (const challenge of other.headers.all(name.toLowerCase())) headers.add(name, challenge);
    }
  }
}

const isChallenge = ({ status }: SipResponse): boolean => status === 401 || status === 407;

/**
 * The status with which one end's answer goes on to the other end. That end speaks to the relay: a 503 would be taken
 * for the relay's own, and a 3xx would lead past the relay (RFC 3261 §16.7, step 6; §21.5.4).
 */
export const passedStatus = (status: number): number =>
  status === 503 ? 500 : isRedirection(status) ? LEADS_NOWHERE.status : status;

/**
 * Makes a failure the answer to a request in a dialog that goes on. 408 and 481 come from another dialog, and here
 * would say that this one is gone (RFC 3261 §12.2.1.2).
 */
export const withinDialog = (failure: Failure): Failure =>
  meansGone(failure.status) ? { ...failure, status: failure.status === 408 ? 504 : 500 } : failure;

/**
 * The reason phrase for an answer that is passed on with this status: the sender's own words. Where the status changes,
 * the usual phrase of the old status changes with it.
 */
export function phraseOf(border: Border, said: SipResponse, status: number, towards: Side): string {
  const phrase = border.phrase(said, towards);
  return status !== said.status && (isRedirection(said.status) || phrase === reasonPhrase(said.status))
    ? reasonPhrase(status)
    : phrase;
}

/** Takes a 503's Retry-After out of an answer that is passed on: only the relay has to obey it (RFC 3261 §21.5.4). */
export function withoutRest(said: SipResponse, passed: SipResponse): void {
  if (said.status === 503) passed.headers.remove("retry-after");
}

/** The relay's own answer to a request that failed. `fill` adds what comes before its own header fields. */
export function refusal({ status, reason, headers }: Failure, fill?: (response: SipResponse) => void): SipResponse {
  const response = new SipResponse(status, reason === undefined ? reasonPhrase(status) : asReasonPhrase(reason));
  fill?.(response);
  for (const [name, value] of headers ?? []) response.headers.add(name, value);
  if (status === 405) response.headers.add("Allow", ALLOW);
  return response;
}

/**
 * The other end's answer, for the end that asked. A 503 and a 3xx become plain refusals: a 503 concerns its sender
 * alone, and a 3xx would lead out of the session (RFC 3261 §14.1).
 */
export function refusalOrAnswer(border: Border, response: SipResponse, towards: Side): SipResponse {
  // RFC 4320 §4.1: no 408 to anything but INVITE; the transaction would not send it.
  const late = response.status === 408 && response.cseq?.method !== "INVITE";
  const status = late ? 504 : passedStatus(response.status);
  return new SipResponse(status, phraseOf(border, response, status, towards));
}
