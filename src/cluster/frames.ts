import { err, ok, type Result } from "../support/result.ts";

/*
 * How copies of sessions and of charging events go from one node to another: as lines of text. The first line says
 * whose they are. A state or event is JSON on one line. The receiver does not read it before it is needed, so that a
 * copy costs it little.
 *
 *   1 <node> <epoch> <number>
 *   = <number>                                       what came in frames up to this one is billed: it may be forgotten
 *   + <session> <now by the session's timeline> <state>
 *   ~ <session> <state of its set-up>
 *   - <session>
 *   > <session> <how its client came, or ->           the receiver has the session from now on, as it was put before
 *   ! <event>
 */

export interface Frame {
  /** Whose sessions these are. */
  readonly node: string;
  readonly epoch: number;
  /** Grows with each frame of an epoch; the answer names it. */
  readonly number: number;
  /** The events of frames up to this number are where they are billed from. */
  readonly done: number;
  readonly lines: readonly FrameLine[];
}

export type FrameLine =
  | { readonly kind: "put"; readonly session: string; readonly now: number; readonly state: string }
  | { readonly kind: "set-up"; readonly session: string; readonly state: string }
  | { readonly kind: "yours"; readonly session: string; readonly flow: string }
  | { readonly kind: "gone"; readonly session: string }
  | { readonly kind: "event"; readonly event: string };

const VERSION = "1";
const HEAD = /^1 ([0-9a-z]{6}) (\d{1,15}) (\d{1,15})$/;
const DONE = /^= (\d{1,15})$/;
const PUT = /^\+ ([0-9a-z-]{8,100}) (\d{1,15}) (?=\{)/;
const SET_UP = /^~ ([0-9a-z-]{8,100}) (?=\{)/;
const GONE = /^- ([0-9a-z-]{8,100})$/;
const YOURS = /^> ([0-9a-z-]{8,100}) ([!-~ ]{1,600})$/;
const EVENT = /^! (?=\{)/;

export const headOf = (node: string, epoch: number, number: number): string => `${VERSION} ${node} ${epoch} ${number}`;
export const doneLine = (number: number): string => `\n= ${number}`;
export const putLine = (session: string, now: number, state: object): string =>
  `\n+ ${session} ${now} ${JSON.stringify(state)}`;
export const setUpLine = (session: string, state: object): string => `\n~ ${session} ${JSON.stringify(state)}`;
export const goneLine = (session: string): string => `\n- ${session}`;
export const yoursLine = (session: string, flow = "-"): string => `\n> ${session} ${flow}`;
export const eventLine = (event: object): string => `\n! ${JSON.stringify(event)}`;

/** Reads what another node has sent. The error says what is wrong; a frame is taken whole, or not at all. */
export function readFrame(text: string): Result<Frame, string> {
  const [head = "", ...rest] = text.split("\n");
  const found = HEAD.exec(head);
  if (!found) return err("its first line is none of version 1");
  const lines: FrameLine[] = [];
  let done = 0;
  for (const [index, line] of rest.entries()) {
    const read = readLine(line);
    if (typeof read === "object") lines.push(read);
    else if (read !== undefined && index === 0) done = read;
    else return err(`line ${index + 2} is none`);
  }
  return ok({ node: found[1]!, epoch: Number(found[2]), number: Number(found[3]), done, lines });
}

function readLine(line: string): FrameLine | number | undefined {
  const put = PUT.exec(line);
  if (put) return { kind: "put", session: put[1]!, now: Number(put[2]), state: line.slice(put[0].length) };
  const setUp = SET_UP.exec(line);
  if (setUp) return { kind: "set-up", session: setUp[1]!, state: line.slice(setUp[0].length) };
  const gone = GONE.exec(line);
  if (gone) return { kind: "gone", session: gone[1]! };
  const yours = YOURS.exec(line);
  if (yours) return { kind: "yours", session: yours[1]!, flow: yours[2]! };
  if (EVENT.test(line)) return { kind: "event", event: line.slice(2) };
  const done = DONE.exec(line);
  return done ? Number(done[1]) : undefined;
}

/** The receiver's answer: which frame it has taken, and who it is. */
export interface Ack {
  readonly by: string;
  readonly epoch: number;
  readonly number: number;
}

export const writeAck = ({ by, epoch, number }: Ack): string => headOf(by, epoch, number);

export function readAck(text: string): Ack | undefined {
  const found = HEAD.exec(text);
  return found ? { by: found[1]!, epoch: Number(found[2]), number: Number(found[3]) } : undefined;
}

/** The topics on which a node hears other nodes' copies, and the answers to its own frames. */
export const copiesTopic = (node: string): string => `copies-${node}`;
export const acksTopic = (node: string): string => `acks-${node}`;
