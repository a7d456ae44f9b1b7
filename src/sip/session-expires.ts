import { numberIn } from "./chars.ts";
import type { Headers } from "./message.ts";

/** Session-Expires (RFC 4028 §4). */
export interface SessionExpires {
  readonly seconds: number;
  /** Who is to refresh: the end that sends the request at hand (`uac`), or the other. Undefined: not said. */
  readonly refresher?: "uac" | "uas";
}

/** More than anybody waits; what is larger cannot be counted with. */
const MOST_S = 2 ** 31 - 1;
const REFRESHER = /;\s*refresher\s*=\s*(ua[cs])\s*(?:;|$)/i;

/** Reads Session-Expires; undefined where there is none, or none that can be read: then no timer is asked for. */
export function sessionExpiresOf(headers: Headers): SessionExpires | undefined {
  const text = headers.get("session-expires");
  const seconds = text === undefined ? -1 : deltaSeconds(text);
  if (seconds < 0) return undefined;
  const refresher = REFRESHER.exec(text!)?.[1]?.toLowerCase() as "uac" | "uas" | undefined;
  return refresher ? { seconds, refresher } : { seconds };
}

/** Reads Min-SE, seconds (RFC 4028 §5); 0 where there is none that can be read. */
export function minSeOf(headers: Headers): number {
  const text = headers.get("min-se");
  return text === undefined ? 0 : Math.max(0, deltaSeconds(text));
}

function deltaSeconds(text: string): number {
  const semicolon = text.indexOf(";");
  const number = (semicolon < 0 ? text : text.slice(0, semicolon)).trim();
  const seconds = numberIn(number, 0, number.length, 10);
  return seconds > MOST_S ? -1 : seconds;
}
