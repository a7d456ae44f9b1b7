import { once } from "node:events";
import { connect, createServer, type Server, type Socket } from "node:net";
import { MessageFramer } from "../../src/sdk/framing.ts";
import { digestResponse, ha1 } from "../../src/sip/digest.ts";

/*
 * Plays a page of SIP messages with a relay: what the page says a peer sends is sent, and what it says a peer gets is
 * compared. What is made up for one call (tags, branches, Call-IDs, nonces, ids of sessions) stands on the page under
 * names that are learnt when it first comes.
 */

/** A message on the page: who sends or gets it, and its text with CRLF. */
export interface Step {
  readonly peer: string;
  readonly sends: boolean;
  readonly text: string;
}

/** `**Client sends**` and the like, with the fenced block that follows. */
export function stepsOf(page: string): Step[] {
  const found = [...page.matchAll(/^\*\*(.+?) (sends|gets)\*\*[^`]*?\n```sip\n([\s\S]*?)^```$/gm)];
  return found.map(([, peer, verb, text]) => ({ peer: peer!, sends: verb === "sends", text: withCrlf(text!) }));
}

/** Of folded lines one is made. A body has as many line ends at its end as Content-Length says. */
function withCrlf(text: string): string {
  const [head, ...rest] = text.trimEnd().split("\n\n");
  const header = head!.replace(/\n +/g, " ").replaceAll("\n", "\r\n");
  const body = rest.join("\n\n").replaceAll("\n", "\r\n");
  const missing = Number(field(header, "Content-Length")) - Buffer.byteLength(body);
  return `${header}\r\n\r\n${body}${missing === 2 ? "\r\n" : ""}`;
}

/** `INFO` for a request, `200 INFO` for an answer. */
export function kindOf(message: string): string {
  const method = /^CSeq: *\d+ +(\w+)/im.exec(message)?.[1] ?? "";
  const status = /^SIP\/2\.0 (\d+)/.exec(message)?.[1];
  return status === undefined ? method : `${status} ${method}`;
}

const field = (message: string, name: string): string =>
  new RegExp(`^${name}: *(.*?)\\r?$`, "im").exec(message)?.[1] ?? "";

/** A SIP peer on TCP that does by itself what the page does not show: ACK, and 200 to BYE and NOTIFY. */
export class PagePeer {
  private readonly inbox: string[] = [];
  private readonly sockets: Socket[] = [];
  private readonly shown: (kind: string, sends: boolean) => boolean;
  private wake: () => void = () => {};
  private server: Server | undefined;
  private asked = "";

  /** `shown`: whether the rest of the page has a message of that kind, sent or got by this peer. */
  constructor(shown: (kind: string, sends: boolean) => boolean) {
    this.shown = shown;
  }

  async dial(port: number): Promise<number> {
    const socket = connect(port, "127.0.0.1");
    await once(socket, "connect");
    this.take(socket);
    return socket.localPort!;
  }

  async listen(): Promise<number> {
    this.server = createServer((socket) => this.take(socket));
    this.server.listen(0, "127.0.0.1");
    await once(this.server, "listening");
    return (this.server.address() as { port: number }).port;
  }

  send(text: string): void {
    if (text.startsWith("INVITE ")) this.asked = text;
    this.sockets.at(-1)!.write(text);
  }

  async next(): Promise<string> {
    while (this.inbox.length === 0)
      await new Promise<void>((resolve) => {
        this.wake = resolve;
      });
    return this.inbox.shift()!;
  }

  close(): void {
    for (const socket of this.sockets) socket.destroy();
    this.server?.close();
  }

  private take(socket: Socket): void {
    const framer = new MessageFramer();
    this.sockets.push(socket);
    socket.setNoDelay(true);
    socket.on("error", () => {});
    socket.on("data", (chunk) => {
      const frames = framer.push(chunk);
      if (!frames.ok) throw new Error(frames.error);
      for (const message of frames.value.messages) this.received(message);
    });
  }

  private received(message: string): void {
    const kind = kindOf(message);
    if (/^[2-6]\d\d INVITE$/.test(kind)) this.acknowledge(message);
    if (this.shown(kind, false)) {
      this.inbox.push(message);
      this.wake();
    }
    if ((kind === "BYE" || kind === "NOTIFY") && !this.shown(`200 ${kind}`, true)) {
      const copied = message.split("\r\n").filter((line) => /^(via|from|to|call-id|cseq):/i.test(line));
      this.send(["SIP/2.0 200 OK", ...copied, "Content-Length: 0", "", ""].join("\r\n"));
    }
  }

  /** RFC 3261 §13.2.2.4 for a success, §17.1.1.3 for what is none. */
  private acknowledge(answer: string): void {
    const success = answer.startsWith("SIP/2.0 2");
    const target = success ? /<(.*)>/.exec(field(answer, "Contact"))![1]! : this.asked.split(" ")[1]!;
    const branch = success
      ? `branch=z9hG4bK-ack-${field(answer, "CSeq").split(" ")[0]}`
      : /branch=[^;\s]+/.exec(this.asked)![0];
    const via = field(this.asked, "Via").replace(/branch=[^;\s]+/, branch);
    this.send(
      [
        `ACK ${target} SIP/2.0`,
        `Via: ${via}`,
        "Max-Forwards: 70",
        ...["From", "To", "Call-ID"].map((name) => `${name}: ${field(answer, name)}`),
        `CSeq: ${field(answer, "CSeq").replace("INVITE", "ACK")}`,
        "Content-Length: 0",
        "",
        "",
      ].join("\r\n"),
    );
  }
}

/** What is made up for one call, wherever it stands. */
const MADE_UP =
  /(?<=branch=)[^;,\s"]+|(?<=tag=)[^;>\s"]+|(?<=^(?:Call-ID|In-Reply-To|Tollgate-Session): ?)\S+|(?<=nonce=")[^"]*|(?<=^(?:Replaces|Target-Dialog): )[^;]+|(?<=expires=)\d+/gm;

/** The names on the page and what they stand for in this run. */
export class Names {
  private readonly known = new Map<string, string>();
  private readonly accounts: Readonly<Record<string, { realm: string; password: string }>>;

  constructor(addresses: ReadonlyMap<string, string>, accounts: Names["accounts"]) {
    for (const [name, value] of addresses) this.known.set(name, value);
    this.accounts = accounts;
  }

  /** As it is to be sent: with what was learnt, the length of the body, and the digest of this run's nonce. */
  toSend(text: string): string {
    for (const [name] of text.matchAll(MADE_UP)) if (!this.known.has(name)) this.known.set(name, name);
    return withLength(this.signed(this.inThisRun(text)));
  }

  /** The response of digest credentials, from what they say. */
  signed(text: string): string {
    return text.replace(/^Authorization: Digest .*$/m, (line) => {
      const said = (name: string) => new RegExp(`\\b${name}="?([^",\\s]*)`).exec(line)![1]!;
      const user = said("username");
      const account = this.accounts[user]!;
      const [nonce, nc, cnonce, qop, uri] = ["\\bnonce", "nc", "cnonce", "qop", "uri"].map(said);
      const response = digestResponse({
        algorithm: "sha-256",
        ha1: ha1("sha-256", user, account.realm, account.password),
        method: text.split(" ")[0]!,
        uri: uri!,
        nonce: nonce!,
        nc,
        cnonce,
        qop,
      });
      return line.replace(/response="[^"]*"/, `response="${response}"`);
    });
  }

  /** What came as the page would have it where both are alike; else as it is. Learns what is new. */
  seen(came: string, onPage: string): string {
    const values = [...came.matchAll(MADE_UP)].map(([value]) => value);
    const names = [...onPage.matchAll(MADE_UP)].map(([name]) => name);
    if (values.length === names.length)
      for (const [i, name] of names.entries()) if (!this.known.has(name)) this.known.set(name, values[i]!);
    const backwards = [...this.known].sort((a, b) => b[1].length - a[1].length);
    return backwards.reduce((text, [name, value]) => text.replaceAll(value, name), came);
  }

  private inThisRun(text: string): string {
    const longestFirst = [...this.known].sort((a, b) => b[0].length - a[0].length);
    return longestFirst.reduce((all, [name, value]) => all.replaceAll(name, value), text);
  }
}

function withLength(text: string): string {
  const body = text.slice(text.indexOf("\r\n\r\n") + 4);
  return text.replace(/^Content-Length: \d+/m, `Content-Length: ${Buffer.byteLength(body)}`);
}
