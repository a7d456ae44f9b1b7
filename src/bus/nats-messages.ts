import { createHash } from "node:crypto";
import type { DeadLetter } from "../charging/events/dead-letter.ts";
import type { Outgoing } from "./nats-publisher.ts";

/** Ids that can go into a header as they are. None begins with `=`: that marks hashes. */
const PLAIN = /^[!-<>-~][!-~]{0,254}$/;

/**
 * An event's id as Nats-Msg-Id, by which JetStream recognizes a repetition. The id may hold text of an app server. If
 * it is long or not plain ASCII, its hash is used, so that two ids never become the same.
 */
export function messageId(id: string): string {
  return PLAIN.test(id) ? id : `=${createHash("sha256").update(id, "utf16le").digest("base64url")}`;
}

const REASON_CHARS = 400;

/**
 * A dead letter as a message: the event's text as it came, with id and reason in headers. The text is cut if it is
 * longer than the server accepts.
 */
export function deadMessage(subject: string, letter: DeadLetter, maxPayload: number): Outgoing {
  const headers: [string, string][] = [
    // The reason is part of the id: an event that was repaired and fails again for another reason is another letter.
    ["Nats-Msg-Id", messageId(`dead:${letter.id}:${letter.reason}`)],
    ["Tollgate-Id", inHeader(letter.id)],
    ["Tollgate-Reason", inHeader(letter.reason)],
    ["Tollgate-Time", new Date(letter.at).toISOString()],
  ];
  const room = maxPayload - 4_096;
  const bytes = Buffer.from(letter.event);
  if (bytes.length <= room) return { subject, headers, text: letter.event };
  headers.push(["Tollgate-Cut", String(bytes.length)]);
  return { subject, headers, text: bytes.subarray(0, room - 4).toString() }; // 4: a cut character grows to U+FFFD
}

/** Printable ASCII as it is, the rest as %XX of UTF-8. */
function inHeader(text: string): string {
  return text
    .slice(0, REASON_CHARS)
    .replace(/[^ -$&-~]/gu, (char: string) =>
      Array.from(Buffer.from(char), (byte) => `%${byte.toString(16).toUpperCase().padStart(2, "0")}`).join(""),
    );
}
