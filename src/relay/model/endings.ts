import type { Ending, EndingCode } from "../../../machines/events.ts";
import type { SessionContext } from "../../../machines/session.ts";

/** What both ends hear, in BYE's Reason (RFC 3326 §2); `cause` is a SIP status, else 480. */
interface EndingText {
  readonly text: string;
  readonly cause?: number;
}

/** Why the relay ends a session. The texts stand in records, too: a new one is a new code. */
const ENDINGS: Readonly<Record<EndingCode, EndingText>> = {
  "no-ack": { text: "no ACK came" },
  "no-ack-to-change": { text: "no ACK to a re-INVITE" },
  "not-taken": { text: "the client did not take it" },
  "too-late": { text: "the answer came too late" },
  "client-gone": { text: "client is gone" },
  "server-gone": { text: "server is gone" },
  "max-duration": { text: "the greatest duration is over" },
  "credit-exhausted": { text: "credit exhausted", cause: 402 },
  "credit-unknown": { text: "the balance is not known", cause: 503 },
  "not-recorded": { text: "its start could not be put on record" },
  "part-over": { text: "the session ended" },
  "service-gone": { text: "the service that it was changed to is gone" },
  "no-media": { text: "the media relay did not answer", cause: 503 },
  blocked: { text: "the user is blocked", cause: 403 },
  operator: { text: "the operator ended it" },
  moved: { text: "moved to" },
  stops: { text: "the relay stops" },
  stopped: { text: "stopped" },
  killed: { text: "stopped without warning" },
  fault: { text: "fault" },
};

/** What the app server of the part before hears. */
const CHANGED = { text: "the client changed to another service", cause: 200 };

/** Who or what ended a session, as it stands on record: `client`, `server`, or `relay: <why>`. */
export function endedByText(endedBy: SessionContext["endedBy"] | EndingCode): string {
  if (endedBy === null) return "relay";
  if (endedBy === "client" || endedBy === "server" || endedBy === "change") return endedBy;
  if (typeof endedBy === "string") return `relay: ${ENDINGS[endedBy].text}`;
  const { detail } = endedBy;
  return `relay: ${textOf(endedBy)}${detail === undefined ? "" : `: ${detail}`}`;
}

/** For BYE's Reason. `detail` is left out: it tells of the other end, and is for the record alone. */
export function reasonOf(endedBy: SessionContext["endedBy"]): { readonly cause: number; readonly text: string } {
  if (endedBy === "change") return CHANGED;
  if (endedBy === null || typeof endedBy === "string") return { cause: 480, text: endedBy ?? "" };
  return { cause: ENDINGS[endedBy.code].cause ?? 480, text: textOf(endedBy) };
}

const textOf = ({ code, what }: Ending): string => {
  const { text } = ENDINGS[code];
  return what === undefined ? text : `${text} ${what}`;
};
