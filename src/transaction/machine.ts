import type { SipRequest, SipResponse } from "../sip/message.ts";
import type { TimerQueues } from "../support/timer-queues.ts";
import type { Destination, Flow } from "../transport/types.ts";
import type { TimerSettings } from "./types.ts";

/** Durations that the machines use, worked out once from T1, T2 and T4 (RFC 3261 table 4); all in milliseconds. */
export interface Durations extends TimerSettings {
  /** 64*T1: timers B, F, H, J, L, M. */
  readonly giveUpMs: number;
  /** Timer D: at least 32 s, whatever our T1 is (RFC 6026 §8.4). */
  readonly timerDMs: number;
  /**
   * How long an INVITE may stay unanswered before the layer sends 100 itself; 0 sends it at once (RFC 3261 §17.2.1).
   */
  readonly tryingMs: number;
  /**
   * When a client's Timer E reaches T2. Only from then on may a non-INVITE request be answered with 100, and then it
   * must be, if it has no final response yet (RFC 4320 §4.1).
   */
  readonly timerEAtT2Ms: number;
}

/** The durations for these timers. `tryingMs`: after how long an unanswered INVITE gets its 100. */
export function durationsOf(timers: TimerSettings, tryingMs = 200): Durations {
  let timerEAtT2Ms = 0;
  for (let interval = timers.t1Ms; interval < timers.t2Ms; interval *= 2) timerEAtT2Ms += interval;
  const giveUpMs = 64 * timers.t1Ms;
  return { ...timers, giveUpMs, timerDMs: Math.max(32_000, giveUpMs), tryingMs, timerEAtT2Ms };
}

/** No limit of repetitions: there can never be as many, since a timer ends them before. */
export const UNBOUNDED = 1_000;

/** What the layer knows of each machine. */
export interface Machine {
  readonly flow: Flow;
  flowFailed(reason: string): void;
}

/** What a machine needs of the layer around it. */
export interface MachineContext {
  readonly timers: TimerQueues;
  readonly durations: Durations;
  /** The machine no longer needs to hear when its flow fails. */
  settled(machine: Machine): void;
  /** The machine is `terminated`: it is forgotten at once (RFC 3261 §17.1.1.2, §17.2.1). */
  terminated(machine: Machine): void;
}

/** What client machines need besides this. */
export interface ClientContext extends MachineContext {
  /** Sends a request again whose connection could not be made, with that branch (RFC 3261 §18.1.1). */
  resend(
    machine: Machine,
    request: SipRequest,
    destination: Destination,
    branch: string,
  ): { flow: Flow; bytes: Buffer };
  /** A 2xx came after its user had abandoned the INVITE. `isNew`: it makes another dialog than the user's. */
  unwanted(response: SipResponse, flow: Flow, isNew: boolean): void;
  /**
   * Sends a CANCEL in a client transaction of its own, on the flow of the INVITE and with its branch (RFC 3261 §9.1).
   */
  sendCancel(cancel: SipRequest, branch: string, flow: Flow, repeats: number): void;
}

/**
 * By which way a datagram's client is answered when its request comes again. If it comes from the same place to another
 * of our sockets, or to another node's, the first one may be gone: a node may have died. A request with the same branch
 * from another place may be forged, and changes nothing.
 */
export function wayOnRepeat(way: Flow, flow: Flow): Flow {
  if (way.reliable || flow.reliable || way.id === flow.id) return way;
  return way.remoteAddress === flow.remoteAddress && way.remotePort === flow.remotePort ? flow : way;
}
