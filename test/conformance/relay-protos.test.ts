import { createSocket, type Socket } from "node:dgram";
import { once } from "node:events";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { afterEach, describe, expect, it } from "vitest";
import type { SipRequest } from "../../src/sip/message.ts";
import { parseMessage } from "../../src/sip/parse.ts";
import { reasonPhrase, responseTo } from "../../src/sip/response.ts";
import { serialize } from "../../src/sip/serialize.ts";
import { DOMAIN, openPortal, USER } from "../e2e/portal.ts";
import { CASES, missing, type ProtosCase, protosCases } from "./protos.ts";

/*
 * The PROTOS messages against a running relay, over UDP. The sender signs in by From (M2), so that whatever can be read
 * goes on to an app server: it rings and is cancelled, is refused, or becomes a session.
 */

/** As much as a datagram over IPv4 holds. */
const MAX_DATAGRAM_BYTES = 65_507;
/** Between two OPTIONS: no more than the system's socket buffers take, whatever they hold. */
const BATCH = { messages: 40, bytes: 80_000 };
/** What of all that may still be held when every transaction has ended. The cases have 18 MB. */
const MAX_GROWTH_BYTES = 12_000_000;

const closers: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

async function open(host: string, received: (bytes: Buffer, socket: Socket, port: number) => void): Promise<Socket> {
  const socket = createSocket("udp4");
  closers.push(() => socket.close());
  socket.bind(0, host);
  await once(socket, "listening");
  socket.on("message", (bytes, { port }) => received(bytes, socket, port));
  return socket;
}

/** An app server that does something else with each INVITE in turn. What it cannot read is kept. */
class AppServer {
  readonly unreadable: string[] = [];
  readonly did = { refused: 0, cancelled: 0, answered: 0, ended: 0 };
  private invites = 0;
  private readonly ringing = new Map<string, SipRequest>();
  private readonly known = new Set<string>();

  received(bytes: Buffer, socket: Socket, port: number): void {
    const read = parseMessage(bytes, "datagram");
    if (!read.ok) {
      this.unreadable.push(`${read.error.reason}: ${bytes.toString("latin1").slice(0, 2_000)}`);
      return;
    }
    const request = read.value;
    if (!request.isRequest || request.method === "ACK") return;
    const answer = (to: SipRequest, status: number) => {
      const response = responseTo(to, status, reasonPhrase(status), "shop");
      if (status === 200) response.headers.add("Contact", `<sip:127.0.0.1:${socket.address().port}>`);
      socket.send(serialize(response), port, "127.0.0.1");
    };
    switch (request.method) {
      case "INVITE": {
        if (this.known.has(request.callId)) return;
        this.known.add(Buffer.from(request.callId).toString()); // a copy: a slice would keep the whole message
        const turn = this.invites++ % 3;
        if (turn === 0) {
          this.did.refused++;
          answer(request, 486);
        } else if (turn === 1) {
          this.ringing.set(request.callId, request);
          answer(request, 180);
        } else {
          this.did.answered++;
          answer(request, 200);
        }
        return;
      }
      case "CANCEL": {
        const invite = this.ringing.get(request.callId);
        this.ringing.delete(request.callId);
        answer(request, 200);
        if (invite) {
          this.did.cancelled++;
          answer(invite, 487);
        }
        return;
      }
      default:
        if (request.method === "BYE") this.did.ended++;
        answer(request, 200);
    }
  }
}

/** The sender of the cases; it has a loopback address of its own, since the answers to some go to port 5060. */
class Sender {
  private readonly socket: Socket;
  private readonly relayPort: number;
  private readonly host: string;
  private alive: ((branch: string) => void) | undefined;
  private barriers = 0;

  constructor(socket: Socket, relayPort: number, host: string) {
    this.socket = socket;
    this.relayPort = relayPort;
    this.host = host;
  }

  received(bytes: Buffer): void {
    const text = bytes.toString("latin1", 0, 2_000);
    const status = Number(/^SIP\/2\.0 (\d{3}) /.exec(text)?.[1]);
    const barrier = /branch=(z9hG4bKbarrier\d+)/.exec(text)?.[1];
    if (Number.isNaN(status)) this.answerRequest(bytes);
    else if (barrier !== undefined) this.alive?.(barrier);
    else if (status >= 200 && /^CSeq: 7 INVITE$/m.test(text)) this.answered(status, bytes.toString("latin1"));
  }

  /**
   * Acknowledges a final answer, and hangs up where it is a success. Made of the answer's text: the case it belongs to
   * may be broken anywhere.
   */
  private answered(status: number, text: string): void {
    const line = (name: string) => new RegExp(`^${name}: .*\r\n`, "m").exec(text)?.[0] ?? "";
    const contact = /^Contact: <(.*)>/m.exec(text)?.[1] ?? `sip:wine@${DOMAIN}`;
    const request = (method: string, seq: number) => {
      const via = status < 300 ? line("Via").replace("branch=", `branch=${method}`) : line("Via");
      const common = `${via}${line("From")}${line("To")}${line("Call-ID")}CSeq: ${seq} ${method}\r\n`;
      this.send(Buffer.from(`${method} ${contact} SIP/2.0\r\n${common}Max-Forwards: 70\r\n\r\n`, "latin1"));
    };
    request("ACK", 7);
    if (status < 300) request("BYE", 8);
  }

  send(bytes: Buffer): void {
    this.socket.send(bytes, this.relayPort, "127.0.0.1");
  }

  /** Resolves when the relay has answered an OPTIONS, which it does after all that was sent before. */
  async barrier(): Promise<void> {
    const branch = `z9hG4bKbarrier${++this.barriers}`;
    const from = `${this.host}:${this.socket.address().port}`;
    const options = Buffer.from(
      [
        `OPTIONS sip:${DOMAIN} SIP/2.0`,
        `Via: SIP/2.0/UDP ${from};rport;branch=${branch}`,
        `From: <sip:tester@${from}>;tag=1`,
        `To: <sip:${DOMAIN}>`,
        `Call-ID: ${branch}`,
        "CSeq: 1 OPTIONS",
        "Max-Forwards: 70",
        "\r\n",
      ].join("\r\n"),
    );
    await new Promise<void>((resolve, reject) => {
      let tries = 0;
      const again = () => {
        if (++tries > 50) reject(new Error("the relay does not answer OPTIONS any more"));
        else this.send(options); // RFC 3261 §17.1.2: it may be lost where the buffers are full
      };
      const timer = setInterval(again, 100);
      this.alive = (answered) => {
        if (answered !== branch) return;
        clearInterval(timer);
        resolve();
      };
      again();
    });
  }

  /** The relay hangs up on a session whose answer nobody has acknowledged. */
  private answerRequest(bytes: Buffer): void {
    const read = parseMessage(bytes, "datagram");
    if (!read.ok || !read.value.isRequest || read.value.method === "ACK") return;
    this.send(serialize(responseTo(read.value, 200, "OK", "sender")));
  }
}

const byte = () => 1 + Math.floor(Math.random() * 250);

describe("a running relay", () => {
  it("survives the PROTOS messages over UDP, forgets them, and still answers", async (context) => {
    if (missing !== undefined) context.skip(missing);
    const host = process.platform === "linux" ? `127.${byte()}.${byte()}.${byte()}` : "127.0.0.1";
    const shop = new AppServer();
    const shopSocket = await open("127.0.0.1", (bytes, socket, port) => shop.received(bytes, socket, port));
    const portal = await openPortal({
      config: {
        authentication: { fromPassword: "always", throttle: { failures: 1_000_000 } },
        limits: { perSourcePerSecond: 0 },
        timers: { t1Ms: 30, t2Ms: 60, t4Ms: 60 },
        services: [{ id: "wine", ringS: 1 }],
        // biome-ignore lint/suspicious/noThenProperty: a rule says when and then
        rules: [{ name: "everything", then: { service: "wine" } }],
        appServers: [{ id: "shop", uri: `sip:127.0.0.1:${shopSocket.address().port}`, services: ["wine"] }],
      },
    });
    closers.push(() => portal.close());
    let sender: Sender | undefined;
    const socket = await open(host, (bytes) => sender?.received(bytes));
    sender = new Sender(socket, portal.udp, host);
    await sender.barrier();
    const heapBefore = heapBytes();

    const { port } = socket.address();
    const cases = protosCases((index) => ({
      To: `wine@${DOMAIN}`,
      From: `${USER}:correct%20horse@${DOMAIN}`,
      "From-Address": host,
      "From-IP": host,
      "Local-Port": String(port),
      "Branch-ID": String(index),
      "Call-ID": `protos-${index}`,
      CSeq: "7",
    }));
    const sent = await sendAll(sender, cases);
    expect(sent.cases + sent.tooLarge).toBe(CASES);
    expect(sent.tooLarge).toBeLessThan(100);

    // Sessions that nobody has acknowledged are given up after 64*T1.
    while (portal.relay.sessions().length > 0) await sender.barrier();
    const { counters } = portal.relay;
    expect(counters.requests).toBeGreaterThan(CASES / 2);
    expect(counters.established).toBeGreaterThan(CASES / 50);
    expect(Math.min(...Object.values(shop.did))).toBeGreaterThan(CASES / 10);
    expect(counters.crashed).toBe(0);
    expect(shop.unreadable).toEqual([]);
    expect(faults(portal.log())).toEqual([]);
    await untilForgotten(sender, heapBefore);
    await sender.barrier();
  }, 20_000);
});

async function sendAll(sender: Sender, cases: Iterable<ProtosCase>) {
  const sent = { cases: 0, tooLarge: 0 };
  let batch = { messages: 0, bytes: 0 };
  for (const [index, { invite, teardown }] of [...cases].entries()) {
    if (invite.length > MAX_DATAGRAM_BYTES) {
      sent.tooLarge++;
      continue;
    }
    sent.cases++;
    sender.send(invite);
    batch.messages += 2;
    batch.bytes += 2 * invite.length;
    if (batch.messages >= BATCH.messages || batch.bytes >= BATCH.bytes) {
      await sender.barrier();
      batch = { messages: 0, bytes: 0 };
    }
    // Most are cancelled at once; the others go on as the app server likes.
    if (teardown && teardown.length <= MAX_DATAGRAM_BYTES && index % 4 !== 0) sender.send(teardown);
  }
  await sender.barrier();
  return sent;
}

/** Log lines of faults of the relay's own. */
function faults(log: string): string[] {
  return log.split("\n").filter((line) => line !== "" && (JSON.parse(line) as { level: number }).level >= 50);
}

/** Waits until what the messages took is given back: the last transactions end 64*T1 after the last message. */
async function untilForgotten(sender: Sender, heapBefore: number): Promise<void> {
  const deadline = Date.now() + 5_000;
  for (;;) {
    const growth = heapBytes() - heapBefore;
    if (growth < MAX_GROWTH_BYTES) return;
    if (Date.now() > deadline) throw new Error(`${growth} bytes are still held`);
    await sender.barrier();
  }
}

function heapBytes(): number {
  setFlagsFromString("--expose-gc");
  (runInNewContext("gc") as () => void)();
  return process.memoryUsage().heapUsed;
}
