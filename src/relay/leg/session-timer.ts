import { HeaderField, type Headers, type SipMessage, type SipRequest, type SipResponse } from "../../sip/message.ts";
import { headerNamed } from "../../sip/names.ts";
import { minSeOf, type SessionExpires, sessionExpiresOf } from "../../sip/session-expires.ts";
import { hasOption } from "../dialog/passing.ts";
import type { LegPort } from "../model/core.ts";
import type { SessionTimerPort } from "../model/ports.ts";
import type { TimerState } from "../model/session-state.ts";

/*
 * Session timers (RFC 4028). The relay is a user agent towards both ends, so each leg has a timer of its own, made with
 * what that end can. One end may have one and the other none.
 */

/** RFC 4028 §5: no interval is shorter. */
export const LEAST_S = 90;
/** RFC 4028 §10: BYE goes out so long before the session expires, or a third of the interval if that is less. */
const BYE_BEFORE_MS = 32_000;
/** How soon what kept the relay from refreshing is looked at again. */
const AGAIN_MS = 5_000;
/** A longer description is not kept for refreshes. */
const MOST_DESCRIPTION = 16_384;

/** The timer of one leg. */
export class SessionTimer implements SessionTimerPort {
  /** 0: none runs. */
  intervalS = 0;
  /** Who refreshes the session. */
  refresher: TimerState["refresher"] = "peer";
  /** Times are by the session's timeline. */
  expiresAt = 0;
  /** When the relay refreshes next. */
  private refreshAt = Number.POSITIVE_INFINITY;
  /** The largest Min-SE that was heard in the dialog, seconds (RFC 4028 §7.4); 0: none was. */
  minS = 0;
  /** The peer has no UPDATE, as far as it has said. */
  byInvite = false;
  /** What the peer was told last of the media. Only kept if a re-INVITE of the relay's must repeat it. */
  description: TimerState["description"];

  static of(state: TimerState, now: number): SessionTimer {
    const timer = new SessionTimer();
    timer.byInvite = state.byInvite ?? false;
    timer.minS = state.minS ?? 0;
    timer.description = state.description;
    timer.run(state.intervalS, state.refresher, state.expiresAt - state.intervalS * 1000);
    // Nobody was here whom the peer could have told that it is there: it gets the time of one more try.
    timer.expiresAt = Math.max(timer.expiresAt, now + 2 * BYE_BEFORE_MS);
    return timer;
  }

  get runs(): boolean {
    return this.intervalS > 0;
  }

  /** When BYE is due, unless the session is refreshed before. */
  get endsAt(): number {
    return this.runs ? this.expiresAt - Math.min(BYE_BEFORE_MS, (this.intervalS * 1000) / 3) : Number.POSITIVE_INFINITY;
  }

  /** When something is to be done. */
  get dueAt(): number {
    return Math.min(this.refreshAt, this.endsAt);
  }

  get state(): TimerState | undefined {
    const { intervalS, refresher, expiresAt, minS, byInvite, description } = this;
    if (intervalS === 0) return undefined;
    const more = { ...(minS > 0 && { minS }), ...(byInvite && { byInvite }), ...(description && { description }) };
    return { intervalS, refresher, expiresAt, ...more };
  }

  /** The session was refreshed: a 2xx to INVITE or UPDATE was sent, or has come (RFC 4028 §7.2, §9). */
  run(intervalS: number, refresher: TimerState["refresher"], now: number): void {
    this.intervalS = intervalS;
    this.refresher = refresher;
    this.expiresAt = now + intervalS * 1000;
    this.refreshAt = refresher === "relay" ? now + intervalS * 500 : Number.POSITIVE_INFINITY; // RFC 4028 §10: at half
    if (!this.keepsDescription) this.description = undefined;
  }

  /** A 2xx without Session-Expires: the session does not expire (RFC 4028 §7.2). */
  off(): void {
    this.intervalS = 0;
    this.refreshAt = Number.POSITIVE_INFINITY;
    this.description = undefined;
  }

  /** It is to be refreshed, or cannot be now: when to look again. */
  again(now: number, afterMs = AGAIN_MS): void {
    if (this.refresher === "relay" && this.runs) this.refreshAt = now + afterMs;
  }

  /** A Min-SE was heard; false: it is none that calls for a longer interval. */
  heardMin(seconds: number): boolean {
    const isMore = seconds > Math.max(this.minS, this.intervalS);
    this.minS = Math.max(this.minS, seconds);
    return isMore;
  }

  private get keepsDescription(): boolean {
    return this.runs && this.byInvite && this.refresher === "relay";
  }

  /** The peer was told this, and has agreed to it. */
  told({ headers, body }: SipMessage): void {
    if (!this.keepsDescription || body.length === 0 || body.length > MOST_DESCRIPTION) return;
    const type = headers.get("content-type") ?? "";
    if (DESCRIBES_MEDIA.test(type)) this.description = { type, text: body.toString("latin1") };
  }
}

const DESCRIBES_MEDIA = /^\s*(?:application\/sdp|multipart\/)/i;
const SUPPORTED = new HeaderField(headerNamed("Supported"), "timer");
const REQUIRED = new HeaderField(headerNamed("Require"), "timer");
const NAME = headerNamed("Session-Expires");
/** That of nearly every INVITE. */
let usual = new HeaderField(NAME, "1800");

function intervalField(seconds: number): HeaderField {
  const value = String(seconds);
  if (usual.value !== value) usual = new HeaderField(NAME, value);
  return usual;
}

const settingsOf = (leg: LegPort) => leg.session.core.config.session.timer;

/**
 * Asks the peer for a timer, in an INVITE or UPDATE of ours (RFC 4028 §7.1, §7.4). Within a dialog whose peer has
 * agreed to none, it only says that the relay could.
 */
export function askForTimer(leg: LegPort, { headers, method }: SipRequest): void {
  const settings = settingsOf(leg);
  if (settings === "off") return;
  const { timer } = leg;
  headers.fields.push(SUPPORTED);
  const runs = timer?.runs === true;
  if (!runs && (leg.confirmed || method !== "INVITE")) return;
  const minS = Math.max(timer?.minS ?? 0, settings.minS > LEAST_S ? settings.minS : 0);
  const wanted = Math.max(runs ? timer.intervalS : settings.expiresS, minS, LEAST_S);
  // RFC 4028 §7.4: so the role does not change with each refresh.
  if (runs) headers.add("Session-Expires", `${wanted};refresher=${timer.refresher === "relay" ? "uac" : "uas"}`);
  else headers.fields.push(intervalField(wanted));
  if (minS > 0) headers.add("Min-SE", String(minS));
}

/** The peer has answered 2xx to an INVITE or UPDATE of ours: takes the timer that it agrees to (RFC 4028 §7.2). */
export function takeTimer(leg: LegPort, response: SipResponse, sent: SipMessage | undefined): void {
  if (settingsOf(leg) === "off") return;
  const said = sessionExpiresOf(response.headers);
  if (!said) {
    stopTimer(leg);
    return;
  }
  leg.timer ??= new SessionTimer();
  noteUpdate(leg.timer, response.headers);
  // The relay keeps to the least interval even where the peer does not (RFC 4028 §11.1).
  const intervalS = Math.max(said.seconds, LEAST_S);
  leg.timer.run(intervalS, said.refresher === "uas" ? "peer" : "relay", leg.session.now());
  if (sent) leg.timer.told(sent);
  leg.session.timerChanged();
}

/** How often a request is sent whose interval is too small. */
const MOST_TRIES = 3;

/**
 * The interval in a request of ours is too small for the peer (422). True: it is worth another try (RFC 4028 §7.3),
 * after `tries` of them.
 */
export function takeMinimum(leg: LegPort, { headers }: SipResponse, tries = 1): boolean {
  if (tries >= MOST_TRIES) return false;
  const settings = settingsOf(leg);
  if (settings === "off") return false;
  leg.timer ??= new SessionTimer();
  const asked = leg.timer.runs ? 0 : settings.expiresS;
  const minS = minSeOf(headers);
  return minS > asked && leg.timer.heardMin(minS);
}

/**
 * Why the peer's INVITE or UPDATE gets 422: the header field to send with it (RFC 4028 §9). Undefined: it gets none.
 */
export function tooShort(
  settings: ReturnType<typeof settingsOf>,
  { headers }: SipRequest,
): readonly [name: string, value: string] | undefined {
  if (settings === "off") return undefined;
  const asked = sessionExpiresOf(headers);
  if (!asked || asked.seconds >= settings.minS || !hasOption(headers, "supported", "timer")) return undefined;
  return ["Min-SE", String(settings.minS)];
}

/**
 * Puts the timer into our 2xx to an INVITE or UPDATE of the peer's, by what that asks for and what the peer can (RFC
 * 4028 §9).
 */
export function answerTimer(leg: LegPort, request: SipRequest, response: SipResponse): void {
  const settings = settingsOf(leg);
  if (settings === "off") return;
  const asked = sessionExpiresOf(request.headers);
  const can = hasOption(request.headers, "supported", "timer");
  const runs = leg.timer?.runs === true;
  const opens = request.toTag === undefined;
  // A proxy that asks for too little cannot be told so (RFC 4028 §8.1): then there is no timer. Within a dialog that
  // has none, the relay asks for none.
  const wanted = can ? asked !== undefined || runs || opens : asked !== undefined && asked.seconds >= settings.minS;
  if (!wanted) {
    stopTimer(leg);
    return;
  }
  leg.timer ??= new SessionTimer();
  const { timer } = leg;
  const minS = minSeOf(request.headers);
  timer.heardMin(minS);
  noteUpdate(timer, request.headers, opens);
  // Never more than was asked for, and never less than Min-SE.
  const most = Math.max(settings.expiresS, minS, LEAST_S);
  const intervalS = asked ? Math.min(asked.seconds, most) : runs ? Math.max(timer.intervalS, minS) : most;
  const refresher = can ? refresherFor(timer, asked) : "relay"; // RFC 4028, table 2
  timer.run(intervalS, refresher, leg.session.now());
  timer.told(response);
  response.headers.add("Session-Expires", `${intervalS};refresher=${refresher === "peer" ? "uac" : "uas"}`);
  if (can) response.headers.fields.push(REQUIRED);
  leg.session.timerChanged();
}

/**
 * The request's own wish counts. Without one, the relay refreshes where it can do so by UPDATE, since that depends
 * least on the peer's timers.
 */
function refresherFor({ byInvite, refresher, runs }: SessionTimerPort, asked: SessionExpires | undefined) {
  if (asked?.refresher) return asked.refresher === "uac" ? "peer" : "relay";
  if (runs) return refresher;
  return byInvite ? "peer" : "relay";
}

/** What the peer says of UPDATE. `unlessSaid`: it has none if it says nothing. */
function noteUpdate(timer: SessionTimerPort, headers: Headers, unlessSaid = false): void {
  if (!headers.has("allow")) {
    if (unlessSaid || !timer.runs) timer.byInvite = true;
  } else timer.byInvite = !headers.all("allow").some((line) => UPDATE.test(line));
}

const UPDATE = /(?:^|[,\s])UPDATE(?:[,\s]|$)/;

function stopTimer(leg: LegPort): void {
  if (!leg.timer?.runs) return;
  leg.timer.off();
  leg.session.timerChanged();
}
