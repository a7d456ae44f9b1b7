import type { OpenRecord } from "../../calls/open-record.ts";
import type { Authenticator, SettledVerdict, Verdict } from "../../directory/authenticator.ts";
import type { AppServerKey } from "../../directory/types.ts";
import type { SipRequest } from "../../sip/message.ts";
import type { NewRequest, ServerTransaction } from "../../transaction/types.ts";
import { laterStatus, reply } from "../dialog/reply.ts";
import { contained } from "../model/contained.ts";
import type { Core } from "../model/core.ts";
import { recordOf } from "../model/records.ts";

/*
 * The sign-in of requests. A refused request is answered without a transaction, unless it has one already (RFC 3261
 * §8.2.7).
 */

/** Why a request is refused whose sender has to wait after failed sign-ins. */
export const HELD_OFF = "sign-in: too many failures before";

const isNewInvite = ({ method, toTag }: SipRequest): boolean => method === "INVITE" && toTag === undefined;

/** What the sign-in says of a request. A user who has signed in is also noted as not having forged the address. */
export function verdictOn(core: Core, authenticator: Authenticator, transaction: ServerTransaction): Verdict {
  const source = core.sources.of(transaction.request, transaction.flow);
  const verdict = authenticator.authenticate(transaction.request, source);
  // `asking`: the digest is right, with a nonce that this source was given by another node.
  if (verdict.verdict === "asking" || (verdict.verdict === "accepted" && verdict.byFrom !== true))
    core.admission.prove(source);
  if (verdict.verdict === "asking" || verdict.verdict === "accepted") {
    const { flow } = transaction;
    if (flow.reliable) flow.proven = true;
  }
  const isChecked = verdict.verdict !== "challenge" && verdict.verdict !== "throttled";
  if (isChecked && isNewInvite(transaction.request)) core.calls.checkedHere?.(transaction.request);
  return verdict;
}

/**
 * Calls `then` with the user who signs in with this request; a transaction is then made for it. If nobody does, the
 * request is answered. At once, unless another node made the nonce and has to be asked.
 */
export function whenSignedIn(
  core: Core,
  authenticator: Authenticator,
  transaction: NewRequest,
  then: (user: string) => void,
): void {
  const verdict = verdictOn(core, authenticator, transaction);
  if (verdict.verdict !== "asking") {
    settle(core, transaction, verdict, then);
    return;
  }
  transaction.begin(); // so that a repeated request is no replay
  const settled = verdict.settled.then((known) => settle(core, transaction, known, then));
  void contained(core, settled, { transaction });
}

/** Calls `then` with the app server that signs in with its key. If none does, the request is answered. */
export function whenAppServer(
  core: Core,
  transaction: NewRequest,
  then: (appServer: string, key: AppServerKey) => void,
): void {
  whenSignedIn(core, core.appServerAuthenticator, transaction, (id) => {
    const key = core.directory.appServerKey(id);
    if (key) then(key.appServer, key);
    else reply(transaction, 403); // the key was removed just now
  });
}

function settle(core: Core, transaction: NewRequest, verdict: SettledVerdict, then: (user: string) => void): void {
  switch (verdict.verdict) {
    case "accepted":
      recordOf(transaction)?.signedIn(verdict.user);
      transaction.begin();
      then(verdict.user);
      return;
    case "throttled":
      recordOf(transaction)?.because(HELD_OFF);
      reply(transaction, laterStatus(transaction.request), [["Retry-After", String(verdict.retryAfterS)]]);
      return;
    case "challenge":
      challenge(core, transaction, verdict.challenges);
      return;
    case "refused":
      noteRefusal(recordOf(transaction), verdict);
      reply(transaction, verdict.status, challengeHeaders(verdict.challenges));
  }
}

/**
 * What the operator reads of a refused sign-in. With the right password it is the user's request, and no stranger's.
 */
export function noteRefusal(
  record: OpenRecord | undefined,
  { user, reason }: Extract<SettledVerdict, { verdict: "refused" }>,
): void {
  if (user !== undefined) record?.signedIn(user);
  record?.because(`sign-in: ${reason}`);
}

/** Challenges a request that brings no credentials, or none that prove who sent it. */
export function challenge(core: Core, transaction: ServerTransaction, challenges: readonly string[]): void {
  const { request, flow } = transaction;
  const source = core.sources.of(request, flow);
  recordOf(transaction)?.forget(); // its sender comes again, with credentials
  if (isNewInvite(request)) core.calls.wasChallenged(request, source);
  const reaches = core.admission.reaches(source);
  reply(transaction, 401, challengeHeaders(reaches ? challenges : trimmed(challenges, request)));
}

export const challengeHeaders = (challenges: readonly string[]) =>
  challenges.map((challenge) => ["WWW-Authenticate", challenge] as const);

/**
 * What an answer has beside the header fields of its request and the challenges: start line, tag, `received`,
 * Content-Length.
 */
const ANSWER_BYTES = 120;
const CHALLENGE_BYTES = 22;

/**
 * Leaves only the first challenge where the answer would be more than twice as long as the request. For an address that
 * may be forged: its owner may not have asked, and must not get more than the forger sends. A real INVITE is long
 * enough for all challenges.
 */
export function trimmed(challenges: readonly string[], request: SipRequest): readonly string[] {
  if (challenges.length < 2) return challenges;
  let copied = 0;
  let all = request.method.length + request.uri.length + 14 + request.body.length;
  for (const { header, key, value } of request.headers.fields) {
    const bytes = header.name.length + value.length + 4;
    all += bytes;
    if (COPIED.has(key)) copied += bytes;
  }
  let added = ANSWER_BYTES;
  for (const challenge of challenges) added += CHALLENGE_BYTES + challenge.length;
  return copied + added > 2 * all ? challenges.slice(0, 1) : challenges;
}

const COPIED = new Set(["via", "from", "to", "call-id", "cseq"]);
