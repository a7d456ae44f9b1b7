import { createHash } from "node:crypto";
import type { DeadLetter } from "../charging/events/dead-letter.ts";
import type { Outgoing } from "./nats-publisher.ts";

/** What a header's value may hold, so that it is the same at the other end; `=` first is kept for hashes. */
const PLAIN = /^[!-<>-~][!-~]{0,254}$/;

/**
 * An event's id as Nats-Msg-Id, by which JetStream knows a repetition. An app server's own text stands in it: what is
 * no plain ASCII, or long, goes as its hash, so that two ids never become one.
 */
export function messageId(id: string): string {
  return PLAIN.test(id) ? id : `=${createHash("sha256").update(id, "utf16le").digest("base64url")}`;
}

const REASON_CHARS = 400;

/**
 * A dead letter as a message: the event's text as it came, with id and reason in headers; cut off where the server
 * takes no more.
 */
export function deadMessage(subject: string, letter: DeadLetter, maxPayload: number): Outgoing {
  const headers: [string, string][] = [
    // A letter whose event was repaired and fails again for another reason is another letter.
    ["Nats-Msg-Id", messageId(`dead:${letter.id}:${letter.reason}`)],
    ["Tollgate-Id", inHeader(letter.id)],
    ["Tollgate-Reason", inHeader(letter.reason)],
    ["Tollgate-Time", new Date(letter.at).toISOString()],
  ];
  const room = maxPayload - 4_096;
  const bytes = Buffer.from(letter.event);
  if (bytes.length <= room) return { subject, headers, text: letter.event };
  headers.push(["Tollgate-Cut", String(bytes.length)]);
  return { subject, headers, text: bytes.subarray(0, room - 4).toString() }; // 4: what is left of a character that was cut in two
}

/** Printable ASCII as it is, the rest as %XX of UTF-8. */
function inHeader(text: string): string {
  return text
    .slice(0, REASON_CHARS)
    .replace(/[^ -$&-~]/gu, (char: string) =>
      Array.from(Buffer.from(char), (byte) => `%${byte.toString(16).toUpperCase().padStart(2, "0")}`).join(""),
    );
}
