import type { CallRecord } from "./record.ts";

/** One arrow of a ladder. */
export interface Step {
  /** Milliseconds since the request came; undefined: not noted. */
  readonly atMs: number | undefined;
  /** `client`, `relay`, or the id of an app server. */
  readonly from: string;
  readonly to: string;
  readonly text: string;
}

/**
 * What a record says of the messages of a call, as arrows: the request, what was asked, what was said, who hung up. The
 * messages themselves are shown where they were kept.
 */
export function stepsOf(record: CallRecord): Step[] {
  const { method, fromServer, uri, asked = [], within, status, reason, ringMs, answerMs, wholeMs, why } = record;
  const sender = fromServer ? (within?.appServer ?? "app server") : "client";
  const steps: Step[] = [{ atMs: 0, from: sender, to: "relay", text: uri === "" ? method : `${method} ${uri}` }];
  if (ringMs !== undefined) steps.push({ atMs: ringMs, from: "relay", to: sender, text: "1xx (provisional answer)" });
  for (const one of asked) {
    const { appServer } = one;
    if (one.callId !== undefined || one.status !== undefined)
      steps.push({ atMs: one.atMs, from: "relay", to: appServer, text: method === "UPDATE" ? method : "INVITE" });
    if (one.status !== undefined)
      steps.push({ atMs: one.answerMs, from: appServer, to: "relay", text: `${one.status} ${one.reason ?? ""}` });
    if (one.why !== undefined) {
      const atMs = one.answerMs ?? answerMs;
      const text = one.why === "cancelled" || one.why === "withdrawn" ? `CANCEL (${one.why})` : `(${one.why})`;
      steps.push({ atMs, from: "relay", to: appServer, text });
    }
  }
  if (status !== undefined) {
    const more = why === undefined ? "" : `  (${why})`;
    steps.push({ atMs: answerMs, from: "relay", to: sender, text: `${status} ${reason ?? ""}${more}` });
  }
  for (const { appServer, endedBy } of asked) {
    if (endedBy === undefined || endedBy === "change") continue;
    if (endedBy !== "server") {
      const from = endedBy === "client" ? "client" : "relay";
      steps.push({ atMs: wholeMs, from, to: appServer, text: from === "relay" ? `BYE (${endedBy})` : "BYE" });
    } else steps.push({ atMs: wholeMs, from: appServer, to: "client", text: "BYE" });
  }
  return inOrder(steps);
}

/** By time; a step whose time was not noted stays behind the one before it. */
function inOrder(steps: readonly Step[]): Step[] {
  let last = 0;
  const timed = steps.map((step) => {
    last = step.atMs ?? last;
    return { step, at: last };
  });
  return timed.sort((a, b) => a.at - b.at).map(({ step }) => step);
}
