import type { SipMessage } from "../../sip/message.ts";

/** The three columns of the ladder. */
export type Lane = "client" | "relay" | "server";

/** One arrow. `direct`: past the relay, from client to app server or back. */
export interface Arrow {
  /** Milliseconds since the scene began. */
  readonly atMs: number;
  readonly from: Lane;
  readonly to: Lane;
  readonly label: string;
}

export interface LadderStyle {
  /** Box drawing characters and colours, for a terminal; else ASCII. */
  readonly fancy: boolean;
}

const TIME = 9;
/** Characters between two lifelines. With the time and three lifelines a row has 78 characters. */
const GAP = 33;
const LANES: readonly Lane[] = ["client", "relay", "server"];

interface Glyphs {
  readonly life: string;
  readonly line: string;
  readonly direct: string;
  readonly right: string;
  readonly left: string;
}

const ASCII: Glyphs = { life: "|", line: "-", direct: "=", right: ">", left: "<" };
const BOX: Glyphs = { life: "│", line: "─", direct: "═", right: "►", left: "◄" };

/** The names on top, each over its lifeline. */
export function ladderHead(names: Readonly<Record<Lane, string>>, style: LadderStyle): string {
  const middle = names.relay;
  const width = TIME + 2 * (GAP + 1);
  let line = `${" ".repeat(TIME)}${names.client}`;
  line = `${line.padEnd(TIME + GAP + 1 - Math.floor(middle.length / 2))}${middle}`;
  line = `${line.padEnd(width + 1 - names.server.length)}${names.server}`;
  return style.fancy ? `\u001b[1m${line}\u001b[0m` : line;
}

/** One arrow as a row. A label that is too long is cut. */
export function ladderRow(arrow: Arrow, style: LadderStyle): string {
  const glyphs = style.fancy ? BOX : ASCII;
  const from = LANES.indexOf(arrow.from);
  const to = LANES.indexOf(arrow.to);
  const time = `${(arrow.atMs / 1000).toFixed(3)} s`.padStart(TIME - 2).padEnd(TIME);
  const spans: string[] = [];
  for (let gap = 0; gap < 2; gap++) {
    const used = gap >= Math.min(from, to) && gap < Math.max(from, to);
    spans.push(used ? "" : " ".repeat(GAP));
  }
  const colour = style.fancy ? colourOf(arrow.label) : undefined;
  const paint = (text: string) => (colour === undefined ? text : `\u001b[${colour}m${text}\u001b[0m`);
  if (Math.abs(from - to) === 2)
    return `${time}${glyphs.life}${paint(shaft(arrow.label, 2 * GAP + 1, from < to, glyphs.direct, glyphs))}${glyphs.life}`;
  const drawn = paint(shaft(arrow.label, GAP, from < to, glyphs.line, glyphs));
  return `${time}${glyphs.life}${spans[0] || drawn}${glyphs.life}${spans[1] || drawn}${glyphs.life}`;
}

/** A remark beside the lifelines, between two arrows. */
export function ladderNote(text: string, style: LadderStyle): string {
  return style.fancy ? `${" ".repeat(TIME)}\u001b[2m${text}\u001b[0m` : `${" ".repeat(TIME)}${text}`;
}

function shaft(label: string, width: number, right: boolean, line: string, glyphs: Glyphs): string {
  const most = width - 5;
  const text = ` ${printable(label).slice(0, most)} `;
  const rest = width - 1 - text.length;
  const before = Math.min(2, rest);
  return right
    ? `${line.repeat(before)}${text}${line.repeat(rest - before)}${glyphs.right}`
    : `${glyphs.left}${line.repeat(before)}${text}${line.repeat(rest - before)}`;
}

function colourOf(label: string): number | undefined {
  const status = Number(/^\d{3}\b/.exec(label)?.[0]);
  if (Number.isNaN(status)) return 36;
  return status < 200 ? 90 : status < 300 ? 32 : 33;
}

/** What came from a peer must not steer a terminal; SIP text is held as latin1. */
const printable = (text: string) => text.replace(/[^\x20-\x7e]/g, "?");

/** Names a message in few words: `INVITE wine, signed`, `200 OK (BYE), charges`. An answer to INVITE goes without the method. */
export function labelOf(message: SipMessage): string {
  const type = message.headers.get("content-type")?.toLowerCase() ?? "";
  const charges = type.startsWith("application/vnd.tollgate.charge") ? ", charges" : "";
  if (!message.isRequest) {
    const access = type.startsWith("application/vnd.tollgate.access") ? ", URL inside" : "";
    const method = message.cseq?.method ?? "?";
    return `${message.status} ${message.reason}${method === "INVITE" ? "" : ` (${method})`}${access}${charges}`;
  }
  if (message.method !== "INVITE") return `${message.method}${charges}`;
  const service = userOf(message.uri) ?? userOf(message.headers.get("to") ?? ""); // towards an app server the service stands in To
  return `INVITE ${service ?? "?"}${message.headers.has("authorization") ? ", signed" : ""}`;
}

const userOf = (uri: string) => /^[^:]*sips?:([^@;>]+)@/.exec(uri)?.[1];
