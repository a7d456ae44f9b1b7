import { type RunningRecord, runningOf } from "../../calls/of-dead.ts";
import { type Check, count, fields, list, oneOf, optional, textUpTo } from "../../charging/events/field-checks.ts";
import { parseMessage } from "../../sip/parse.ts";
import { responseTo } from "../../sip/response.ts";
import { serialize } from "../../sip/serialize.ts";
import { readJson } from "../../support/json.ts";
import { err, ok, type Result } from "../../support/result.ts";
import type { Flow } from "../../transport/types.ts";
import { placeOf } from "../dialog/dialog.ts";
import { laterStatus } from "../dialog/reply.ts";
import type { Core, SessionPort } from "../model/core.ts";
import { recordOf } from "../model/records.ts";
import { type PlaceState, placeCheck, placeState } from "../model/session-state.ts";

/*
 * A call in set-up ends with the process that sets it up. For another process to end it fast and clean, it is enough to
 * know two messages: the CANCEL for the app server that rings, and the refusal for the client that waits.
 */

/** One branch of a call in set-up, as data. */
export interface SetUpState {
  /** Names the client's request, which several branches may have in common. */
  readonly call: string;
  readonly cancel?: SentState;
  /** Missing: the client came by a connection, which is gone with the process. */
  readonly refusal?: SentState;
  /** What is on record of the client's request so far. Missing: an older relay has written it. */
  readonly record?: RunningRecord;
}

interface SentState {
  /** The message, each byte as one character. */
  readonly text: string;
  readonly to: PlaceState;
}

const text = textUpTo(500, 0);

const runningCheck: Check = fields<RunningRecord>({
  id: textUpTo(100),
  method: oneOf("INVITE"),
  at: count(Number.MAX_SAFE_INTEGER),
  call: optional(text),
  callId: text,
  source: text,
  user: optional(text),
  uri: text,
  rule: optional(text),
  service: optional(text),
  ringMs: optional(count(Number.MAX_SAFE_INTEGER)),
  asked: optional(
    list(
      fields<NonNullable<RunningRecord["asked"]>[number]>({
        appServer: text,
        session: text,
        callId: optional(text),
        atMs: count(Number.MAX_SAFE_INTEGER),
      }),
      50,
    ),
  ),
});

const sent: Check = fields<SentState>({ text: textUpTo(65_535), to: placeCheck });
const check: Check = fields<SetUpState>({
  call: textUpTo(400),
  cancel: optional(sent),
  refusal: optional(sent),
  record: optional(runningCheck),
});
const DEPTH = 5;

/** A branch that rings, as data; undefined: there is nothing to cancel, or it is a change inside a session. */
export function setUpState({ request, invitation, client, closed }: SessionPort): SetUpState | undefined {
  if (!request || request.change || request.move || closed) return undefined;
  const { transaction } = request;
  const cancelling = invitation?.withdrawal?.();
  if (!cancelling) return undefined;
  const cancel = sentState(serialize(cancelling.cancel), cancelling.flow);
  const soFar = recordOf(transaction)?.toRecord();
  const running = soFar && runningOf(soFar);
  const record = running && { record: running };
  if (transaction.flow.reliable) return { call: request.call, cancel, ...record };
  const status = laterStatus(transaction.request);
  const tag = client?.dialog.localTag;
  const refusal = responseTo(transaction.request, status, undefined, tag, [["Retry-After", "1"]]);
  return { call: request.call, cancel, refusal: sentState(serialize(refusal), transaction.flow), ...record };
}

const sentState = (bytes: Buffer, flow: Flow): SentState => ({
  text: bytes.toString("latin1"),
  to: placeState(placeOf(flow)),
});

/** Reads what a relay has written of a branch. The error says which field is wrong. */
export function readSetUpState(json: string): Result<SetUpState, string> {
  const read = readJson(json, DEPTH);
  if (!read.ok) return read;
  const problem = check(read.value);
  return problem === undefined ? ok(read.value as SetUpState) : err(problem);
}

/** How often a message is repeated whose answer cannot come here, and after how many T1. */
const REPEATS = [0, 1, 3];

/**
 * Ends a branch whose process is gone: cancels the app server (RFC 3261 §9.1), and unless `refused` has its call
 * already, refuses the client, so that it tries again.
 */
export function endSetUp(core: Core, { call, cancel, refusal, record }: SetUpState, refused: Set<string>): void {
  if (cancel) repeat(core, cancel, (text) => isRequest(text, "CANCEL"));
  if (refused.has(call)) return;
  refused.add(call);
  if (refusal) repeat(core, refusal, (text) => isRequest(text, undefined));
  if (!record) return;
  const answer = refusal && parseMessage(Buffer.from(refusal.text, "latin1"), "datagram");
  const { status, reason } = answer?.ok && !answer.value.isRequest ? answer.value : {};
  core.calls.endedWithNode(record, status, reason);
}

function repeat({ transport, clock, config }: Core, { text, to }: SentState, is: (bytes: Buffer) => boolean): void {
  const bytes = Buffer.from(text, "latin1");
  const flow = is(bytes) ? transport.flowFor?.(to) : undefined;
  if (!flow) return;
  for (const units of flow.reliable ? [0] : REPEATS)
    clock.setTimeout(() => flow.send(bytes), units * config.timers.t1Ms);
}

/** Whether it is that request; undefined: whether it is a response. */
function isRequest(bytes: Buffer, method: "CANCEL" | undefined): boolean {
  const read = parseMessage(bytes, "datagram");
  return read.ok && (read.value.isRequest ? read.value.method === method : method === undefined);
}
