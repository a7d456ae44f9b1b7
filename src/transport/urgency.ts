/*
 * How urgent a message is, by a look at its bytes. It is asked of each message while more comes than can be handled, so
 * nothing is parsed and nothing is made for it. A wrong guess does no harm: the message only waits longer, or less
 * long.
 */

/** Belongs to something under way: a response, or a request within a session. */
export const URGENT = 0;
/** Begins something, and its sender has been let in once already: refusing it now wastes what that cost. */
export const KNOWN = 1;
/** Begins something. */
export const NEW = 2;
export type Urgency = typeof URGENT | typeof KNOWN | typeof NEW;

const LF = 10;
const CR = 13;
const lower = (octet: number | undefined): number => (octet ?? 0) | 0x20;
const [A, B, C, D, E, G, I, M, O, P, R, S, T, U, V] = [..."abcdegimoprstuv"].map((letter) => letter.charCodeAt(0));
const [SPACE, TAB, COLON, SEMICOLON, EQUALS, DASH] = [..." \t:;=-"].map((sign) => sign.charCodeAt(0));

/** RFC 3428. */
export const isMessage = (bytes: Buffer): boolean => lower(bytes[0]) === M;
export const isInvite = (bytes: Buffer): boolean => lower(bytes[0]) === I && lower(bytes[2]) === V;

/** `bytes`: one message, not keep-alives. */
export function urgencyOf(bytes: Buffer): Urgency {
  const first = lower(bytes[0]);
  const second = lower(bytes[1]);
  if (first === S && second === I) return URGENT; // SIP/2.0: a response
  // ACK, BYE, CANCEL and PRACK are always about something that was begun before.
  if (first === A || first === B || first === C || (first === P && second === R)) return URGENT;
  // RFC 3428: outside of a session, a MESSAGE may bring charges.
  let urgency: Urgency = first === M && second === E ? KNOWN : NEW;
  let line = bytes.indexOf(LF) + 1;
  while (line > 0 && line < bytes.length) {
    const next = bytes.indexOf(LF, line) + 1;
    const c = lower(bytes[line]);
    if (c === T) {
      const d = lower(bytes[line + 1]);
      // `To:`, or `t:`; there may be a space before the colon. No other known name begins so but Timestamp.
      if (d === O || d === COLON || d === SPACE || d === (TAB! | 0x20)) {
        if (hasTag(bytes, line, next === 0 ? bytes.length : next)) return URGENT;
        if (urgency === KNOWN) return KNOWN;
      }
    } else if (c === A && lower(bytes[line + 1]) === U && lower(bytes[line + 4]) === O)
      urgency = KNOWN; // Authorization
    else if (c === P && lower(bytes[line + 2]) === O && lower(bytes[line + 6]) === A)
      urgency = KNOWN; // Proxy-Authorization
    else if (bytes[line] === LF || bytes[line] === CR) break; // the body begins
    line = next;
  }
  return urgency;
}

/**
 * The number that the message's Call-ID becomes; 0: it has none. `salt`: unknown to those who send, so that nobody can
 * choose a Call-ID that falls together with another's.
 */
export function callIdKey(bytes: Buffer, salt: number): number {
  let line = bytes.indexOf(LF) + 1;
  while (line > 0 && line < bytes.length && bytes[line] !== LF && bytes[line] !== CR) {
    const c = lower(bytes[line]);
    const end = bytes.indexOf(LF, line);
    // `Call-ID:`, or `i:` (RFC 3261 §20.8); there may be a space before the colon.
    const isLong = c === C && bytes[line + 4] === DASH && lower(bytes[line + 5]) === I && lower(bytes[line + 6]) === D;
    let colon = isLong ? line + 7 : c === I ? line + 1 : 0;
    while (colon > 0 && (bytes[colon] === SPACE || bytes[colon] === TAB)) colon++;
    if (colon > 0 && bytes[colon] === COLON) return hashOf(bytes, colon + 1, end < 0 ? bytes.length : end, salt);
    if (end < 0) break;
    line = end + 1;
  }
  return 0;
}

/** The same number, of a Call-ID that was read already. */
export function keyOfCallId(callId: string, salt: number): number {
  let h = basisOf(salt);
  for (let i = 0; i < callId.length; i++) {
    const octet = callId.charCodeAt(i);
    if (octet > SPACE!) h = Math.imul(h ^ octet, PRIME);
  }
  return mixed(h);
}

/** FNV-1a without the white space, with its high bits mixed into the low ones. Never 0. */
function hashOf(bytes: Buffer, from: number, to: number, salt: number): number {
  let h = basisOf(salt);
  for (let i = from; i < to; i++) if (bytes[i]! > SPACE!) h = Math.imul(h ^ bytes[i]!, PRIME);
  return mixed(h);
}

const PRIME = 0x01000193;
const basisOf = (salt: number): number => (0x811c9dc5 ^ salt) | 0;

function mixed(hash: number): number {
  const h = Math.imul(hash ^ (hash >>> 15), 0x2c1b3c6d);
  return (h ^ (h >>> 13)) >>> 0 || 1;
}

/** Whether a line has `tag=` as the name of a parameter. */
function hasTag(bytes: Buffer, from: number, to: number): boolean {
  for (let i = from + 4; i < to; i++) {
    if (bytes[i] !== EQUALS) continue;
    if (lower(bytes[i - 1]) !== G || lower(bytes[i - 2]) !== A || lower(bytes[i - 3]) !== T) continue;
    const before = bytes[i - 4]!;
    if (before === SEMICOLON || before === SPACE || before === TAB) return true;
  }
  return false;
}
