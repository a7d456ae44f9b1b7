import type { SipMessage, SipRequest } from "../../sip/message.ts";

/** The columns of the ladder; `second` only where two app servers take part. */
export type Lane = "client" | "relay" | "server" | "second";

/** What stands over the columns. */
export type Names = Readonly<Record<Exclude<Lane, "second">, string>> & { readonly second?: string };

/** One arrow. `direct`: not through the relay, from client to app server or back. */
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
  /** App servers that take part. Default 1. */
  readonly servers?: 1 | 2;
}

const TIME = 9;
/**
 * Characters between two lifelines. With the time and the lifelines a row has 78 characters, with a second app server
 * 80.
 */
const GAPS = { 1: [33, 33], 2: [29, 26, 12] } as const;
const LANES: readonly Lane[] = ["client", "relay", "server", "second"];

interface Glyphs {
  readonly life: string;
  readonly line: string;
  readonly direct: string;
  readonly right: string;
  readonly left: string;
}

const ASCII: Glyphs = { life: "|", line: "-", direct: "=", right: ">", left: "<" };
const BOX: Glyphs = { life: "│", line: "─", direct: "═", right: "►", left: "◄" };

/** The names on top, each over its lifeline: the first begins there, the last ends there. */
export function ladderHead(names: Names, { fancy }: LadderStyle): string {
  const gaps = names.second === undefined ? GAPS[1] : GAPS[2];
  const columns = [names.client, names.relay, names.server, ...(names.second === undefined ? [] : [names.second])];
  let line = `${" ".repeat(TIME)}${names.client}`;
  let life = TIME;
  for (const [i, gap] of gaps.entries()) {
    const name = columns[i + 1]!;
    life += gap + 1;
    line = line.padEnd(life - (i + 1 < gaps.length ? Math.floor(name.length / 2) : name.length - 1)) + name;
  }
  return fancy ? `\u001b[1m${line}\u001b[0m` : line;
}

/** One arrow as a row. A label that is too long is cut. */
export function ladderRow(arrow: Arrow, { fancy, servers = 1 }: LadderStyle): string {
  const glyphs = fancy ? BOX : ASCII;
  const from = LANES.indexOf(arrow.from);
  const to = LANES.indexOf(arrow.to);
  const [left, right] = [Math.min(from, to), Math.max(from, to)];
  const gaps: readonly number[] = GAPS[servers];
  const wide = (lanes: readonly number[]) => lanes.reduce((sum, gap) => sum + gap + 1, -1);
  const line = left === 0 && right > 1 ? glyphs.direct : glyphs.line;
  const drawn = shaft(arrow.label, wide(gaps.slice(left, right)), from < to, line, glyphs);
  const colour = fancy ? colourOf(arrow.label) : undefined;
  const blank = (lanes: readonly number[]) => lanes.map((gap) => " ".repeat(gap));
  const spans = [
    ...blank(gaps.slice(0, left)),
    colour === undefined ? drawn : `\u001b[${colour}m${drawn}\u001b[0m`,
    ...blank(gaps.slice(right)),
  ];
  const time = `${(arrow.atMs / 1000).toFixed(3)} s`.padStart(TIME - 2).padEnd(TIME);
  return `${time}${glyphs.life}${spans.join(glyphs.life)}${glyphs.life}`;
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

/** Text from a peer must not control the terminal. SIP text is held as latin1. */
const printable = (text: string) => text.replace(/[^\x20-\x7e]/g, "?");

/**
 * Names a message in a few words: `INVITE wine, signed`, `200 OK (BYE), charges`. The name of an answer to INVITE has
 * no method.
 */
export function labelOf(message: SipMessage): string {
  const type = message.headers.get("content-type")?.toLowerCase() ?? "";
  const charges = type.startsWith("application/vnd.tollgate.charge") ? ", charges" : "";
  const access = type.startsWith("application/vnd.tollgate.access") ? ", URL inside" : "";
  if (!message.isRequest) {
    const method = message.cseq?.method ?? "?";
    return `${message.status} ${message.reason}${method === "INVITE" ? "" : ` (${method})`}${access}${charges}`;
  }
  const { headers, method } = message;
  if (method === "INVITE") return inviteLabel(message, access);
  if (method === "REFER") {
    const to = headers.get("refer-to") ?? "";
    return `REFER ${userOf(to) ?? "?"}${/;first=keep\b/.test(to) ? ", keep" : ""}`;
  }
  if (method === "NOTIFY")
    return `NOTIFY ${/^SIP\/2\.0 (\d{3})/.exec(message.body.toString("latin1"))?.[1] ?? ""}`.trimEnd();
  return `${method}${charges}`;
}

function inviteLabel({ headers, uri, body, toTag }: SipRequest, access: string): string {
  // The relay's own: the session that the client is moved to. The service stands in From.
  if (access !== "") return `INVITE of ${userOf(headers.get("from") ?? "") ?? "?"}, URL`;
  // Towards an app server the service stands in Tollgate-Service; what a client asks for in its session stands in the
  // body.
  const asked = toTag === undefined ? userOf(uri) : /<service name="([^"]*)"/.exec(body.toString("latin1"))?.[1];
  const service = headers.get("tollgate-service") ?? asked ?? userOf(headers.get("to") ?? "");
  const again = toTag === undefined ? "" : "re-";
  return `${again}INVITE ${service ?? "?"}${headers.has("authorization") ? ", signed" : ""}`;
}

const userOf = (uri: string) => /^[^:]*sips?:([^@;>]+)@/.exec(uri)?.[1];
