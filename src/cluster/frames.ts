import { err, ok, type Result } from "../support/result.ts";

/*
 * How copies of sessions go from one node to another: as lines of text. The first line says whose sessions they are. A
 * state is JSON on one line. The receiver does not read it before it is needed, so that a copy costs it little.
 *
 *   1 <node> <epoch> <number>
 *   + <session> <now by the session's timeline> <state>
 *   - <session>
 */

export interface Frame {
  /** Whose sessions these are. */
  readonly node: string;
  readonly epoch: number;
  /** Grows with each frame of an epoch; the answer names it. */
  readonly number: number;
  readonly lines: readonly FrameLine[];
}

export type FrameLine =
  | { readonly session: string; readonly now: number; readonly state: string }
  | { readonly session: string; readonly state: undefined };

const VERSION = "1";
const HEAD = /^1 ([0-9a-z]{6}) (\d{1,15}) (\d{1,15})$/;
const PUT = /^\+ ([0-9a-z-]{8,100}) (\d{1,15}) (?=\{)/;
const GONE = /^- ([0-9a-z-]{8,100})$/;

export const headOf = (node: string, epoch: number, number: number): string => `${VERSION} ${node} ${epoch} ${number}`;
export const putLine = (session: string, now: number, state: object): string =>
  `\n+ ${session} ${now} ${JSON.stringify(state)}`;
export const goneLine = (session: string): string => `\n- ${session}`;

/** Reads what another node has sent. The error says what is wrong; a frame is taken whole, or not at all. */
export function readFrame(text: string): Result<Frame, string> {
  const [head = "", ...rest] = text.split("\n");
  const found = HEAD.exec(head);
  if (!found) return err("its first line is none of version 1");
  const lines: FrameLine[] = [];
  for (const line of rest) {
    const put = PUT.exec(line);
    const gone = put ? undefined : GONE.exec(line);
    if (put) lines.push({ session: put[1]!, now: Number(put[2]), state: line.slice(put[0].length) });
    else if (gone) lines.push({ session: gone[1]!, state: undefined });
    else return err(`line ${lines.length + 2} is none`);
  }
  return ok({ node: found[1]!, epoch: Number(found[2]), number: Number(found[3]), lines });
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
