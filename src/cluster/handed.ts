import type { SipMessage } from "../sip/message.ts";
import { parseMessage } from "../sip/parse.ts";
import { serialize } from "../sip/serialize.ts";
import { err, ok, type Result } from "../support/result.ts";
import { TRANSPORTS, type TransportName } from "../transport/types.ts";

/*
 * How a SIP message goes from the node to which it came to the node that has its session, and how answers come back.
 * The first line says what it is; the message follows as it came, each byte as one character.
 *
 *   1 <node> <epoch> <number> ask|tell <flow> <transport> <reliable> <secure> <address> <port> <sent-by> <cameTo>
 *   1 <node> <epoch> <number> yes|no          the answer to `ask`: whether the message belongs to something there
 *   1 <node> <epoch> <number> back            a message for the flow of that number
 *   1 <node> <epoch> <number> closed          that flow is gone
 */

/** How the peer came, as the node with the socket sees it. */
export interface FlowFacts {
  /** The node's number for the flow. */
  readonly number: number;
  readonly transport: TransportName;
  readonly reliable: boolean;
  readonly secure: boolean;
  readonly remoteAddress: string;
  readonly remotePort: number;
  /** host[:port] and transport parameter by which the peer reaches that node. */
  readonly contact: string;
  readonly cameTo: string;
}

export interface HandedHead {
  readonly node: string;
  readonly epoch: number;
  readonly number: number;
}

export type Handed = HandedHead &
  (
    | { readonly kind: "ask" | "tell"; readonly flow: FlowFacts; readonly message: SipMessage }
    | { readonly kind: "yes" | "no" | "closed" }
    | { readonly kind: "back"; readonly bytes: Buffer }
  );

const HEAD = /^1 ([0-9a-z]{6}) (\d{1,15}) (\d{1,15}) (ask|tell|yes|no|back|closed)(?: ([^\n]{1,600}))?$/;
const FLOW =
  /^(\d{1,15}) ([a-z]{2,4}) ([01]) ([01]) ([0-9a-fA-F.:%a-z]{2,100}) (\d{1,5}) ([!-~]{1,300}) ([!-~]{1,100})$/;
/** For a field that is not there. */
const NONE = "-";

export const handedTopic = (node: string): string => `handed-${node}`;
/** For all nodes at once. */
export const HANDED_TOPIC = "handed";

const headOf = ({ node, epoch, number }: HandedHead, kind: Handed["kind"]): string =>
  `1 ${node} ${epoch} ${number} ${kind}`;

export const writeHanded = (head: HandedHead, kind: "ask" | "tell", flow: FlowFacts, message: SipMessage): string =>
  `${headOf(head, kind)} ${writeFlow(flow)}\n${serialize(message).toString("latin1")}`;

export function writeFlow(flow: FlowFacts): string {
  const { number, transport, reliable, secure, remoteAddress, remotePort, contact, cameTo } = flow;
  return [number, transport, +reliable, +secure, remoteAddress, remotePort, contact, cameTo || NONE].join(" ");
}

export const writeShort = (head: HandedHead, kind: "yes" | "no" | "closed"): string => headOf(head, kind);
export const writeBack = (head: HandedHead, bytes: Buffer): string =>
  `${headOf(head, "back")}\n${bytes.toString("latin1")}`;

/** Reads what another node has told. The error says what is wrong. */
export function readHanded(text: string): Result<Handed, string> {
  const end = text.indexOf("\n");
  const found = HEAD.exec(end < 0 ? text : text.slice(0, end));
  if (!found) return err("its first line is none of version 1");
  const head = { node: found[1]!, epoch: Number(found[2]), number: Number(found[3]) };
  const kind = found[4] as Handed["kind"];
  if (kind === "yes" || kind === "no" || kind === "closed") return ok({ ...head, kind });
  const bytes = Buffer.from(text.slice(end + 1), "latin1");
  if (kind === "back") return ok({ ...head, kind, bytes });
  const flow = readFlow(found[5] ?? "");
  if (!flow) return err("the flow cannot be read");
  const read = parseMessage(bytes, "stream");
  return read.ok
    ? ok({ ...head, kind, flow, message: read.value })
    : err(`the message cannot be read: ${read.error.reason}`);
}

/** Undefined: it is none. */
export function readFlow(text: string): FlowFacts | undefined {
  const found = FLOW.exec(text);
  const transport = found?.[2] as TransportName | undefined;
  if (!found || !transport || !TRANSPORTS.includes(transport)) return undefined;
  return {
    number: Number(found[1]),
    transport,
    reliable: found[3] === "1",
    secure: found[4] === "1",
    remoteAddress: found[5]!,
    remotePort: Number(found[6]),
    contact: found[7]!,
    cameTo: found[8] === NONE ? "" : found[8]!,
  };
}
