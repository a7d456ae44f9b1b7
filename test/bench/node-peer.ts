import { createHash } from "node:crypto";
import { createSocket, type RemoteInfo, type Socket } from "node:dgram";
import { type Called, type CallingOptions, COUNTERS_EVERY_MS, type Counters, PASSWORD, SERVICE, USER } from "./load.ts";
import type { Said } from "./node-load.ts";

/*
 * One end of the load, as a process of its own: the calls of ops/sipp/client-call.xml and server-call.xml over UDP. It
 * knows as much SIP as that takes, and shares no code with the relay.
 */

const DOMAIN = "portal.example";
const T1_MS = 500;
const GIVE_UP_MS = 16_000;
const say = (said: Said) => process.send?.(said);
const SDP = [
  "v=0",
  `o=${USER} 1 1 IN IP4 127.0.0.1`,
  "s=-",
  "c=IN IP4 127.0.0.1",
  "t=0 0",
  "m=audio 6000 RTP/AVP 0",
  "a=rtpmap:0 PCMU/8000",
  "",
].join("\r\n");
const md5 = (text: string) => createHash("md5").update(text).digest("hex");

const counters = { current: 0, successful: 0, failed: 0, retransmissions: 0 };
const socket = createSocket({ type: "udp4", recvBufferSize: 4 << 20, sendBufferSize: 4 << 20 });

/** The first line, and the headers as they stand; those that occur several times in their order. */
interface Message {
  readonly first: string;
  readonly lines: readonly string[];
}

function read(packet: Buffer): Message {
  const text = packet.toString("latin1");
  const lines = text.slice(0, text.indexOf("\r\n\r\n")).split("\r\n");
  return { first: lines[0]!, lines };
}

function header(message: Message, name: string): string {
  const start = `${name}:`.toLowerCase();
  const line = message.lines.find((one) => one.slice(0, start.length).toLowerCase() === start);
  return line?.slice(start.length).trim() ?? "";
}

const uriOf = (value: string) => /<([^>]*)>/.exec(value)?.[1] ?? value;

/** One message that is sent again until something answers it (RFC 3261 §17.1.1.2 and §13.3.1.4). */
class Repeats {
  private readonly waiting = new Map<
    string,
    { packet: string; port: number; since: number; next: number; wait: number }
  >();
  private readonly lost: (key: string) => void;

  constructor(lost: (key: string) => void) {
    this.lost = lost;
    setInterval(() => this.look(), 50).unref();
  }

  send(key: string, packet: string, port: number): void {
    const now = Date.now();
    this.waiting.set(key, { packet, port, since: now, next: now + T1_MS, wait: T1_MS });
    socket.send(packet, port, "127.0.0.1");
  }

  stop(key: string): void {
    this.waiting.delete(key);
  }

  private look(): void {
    const now = Date.now();
    for (const [key, one] of this.waiting) {
      if (now < one.next) continue;
      if (now - one.since > GIVE_UP_MS) {
        this.waiting.delete(key);
        this.lost(key);
        continue;
      }
      counters.retransmissions++;
      one.wait = Math.min(one.wait * 2, 4_000);
      one.next = now + one.wait;
      socket.send(one.packet, one.port, "127.0.0.1");
    }
  }
}

function answer(on: Socket, port: number, challenging: boolean): void {
  const contact = `Contact: <sip:127.0.0.1:${port};transport=UDP>`;
  const repeats = new Repeats(() => counters.failed++);
  const reply = (message: Message, status: string, extra: readonly string[], body: string) => {
    const copied = message.lines.filter((line) => /^(via|from|call-id|cseq|record-route):/i.test(line));
    const to = header(message, "to");
    const toLine = `To: ${to}${to.includes(";tag=") ? "" : ";tag=server"}`;
    return [`SIP/2.0 ${status}`, ...copied, toLine, ...extra, `Content-Length: ${body.length}`, "", body].join("\r\n");
  };
  on.on("message", (packet: Buffer, from: RemoteInfo) => {
    const message = read(packet);
    const id = header(message, "call-id");
    const method = message.first.slice(0, message.first.indexOf(" "));
    if (method === "ACK") return repeats.stop(id);
    if (method === "BYE") return on.send(reply(message, "200 OK", [], ""), from.port, "127.0.0.1");
    if (method !== "INVITE") return;
    if (challenging && header(message, "authorization") === "") {
      const challenge = `WWW-Authenticate: Digest realm="${DOMAIN}", nonce="5f1d7a84db00d2fc", algorithm=MD5, qop="auth"`;
      return on.send(reply(message, "401 Unauthorized", [challenge], ""), from.port, "127.0.0.1");
    }
    on.send(reply(message, "180 Ringing", [contact], ""), from.port, "127.0.0.1");
    repeats.send(id, reply(message, "200 OK", [contact, "Content-Type: application/sdp"], SDP), from.port);
  });
  on.bind(port, "127.0.0.1", () => say({ ready: true }));
}

function call(on: Socket, options: CallingOptions): void {
  on.bind(0, "127.0.0.1", () => new Caller(on, options).start());
}

interface Call {
  readonly id: string;
  askedAt: number;
  rung: boolean;
  /** What the ACK of the 200 is; it goes again when the 200 comes again. */
  ack: string;
  over: boolean;
}

class Caller {
  private readonly socket: Socket;
  private readonly options: CallingOptions;
  private readonly calls = new Map<string, Call>();
  private readonly repeats = new Repeats((key) => this.end(key, false, "no answer"));
  private readonly ringingMs: number[] = [];
  private readonly answerMs: number[] = [];
  private readonly startedAt = performance.now();
  private readonly port: number;
  private readonly reasons: Record<string, number> = {};
  private begun = 0;
  private ended = 0;

  constructor(on: Socket, options: CallingOptions) {
    this.socket = on;
    this.options = options;
    this.port = on.address().port;
  }

  start(): void {
    say({ ready: true });
    this.socket.on("message", (packet) => this.take(read(packet)));
    const tick = setInterval(() => {
      const due = Math.min(
        this.options.calls,
        Math.floor(((performance.now() - this.startedAt) / 1000) * this.options.rate) + 1,
      );
      while (this.begun < due) this.begin();
      if (this.begun === this.options.calls) clearInterval(tick);
    }, 2);
  }

  private begin(): void {
    const id = `${++this.begun}-${process.pid}@127.0.0.1`;
    this.calls.set(id, { id, askedAt: 0, rung: false, ack: "", over: false });
    counters.current++;
    this.repeats.send(
      id,
      this.request("INVITE", `sip:${SERVICE}@${DOMAIN}`, id, "1 INVITE", "", [], SDP),
      this.options.port,
    );
  }

  private take(message: Message): void {
    const id = header(message, "call-id");
    const cseq = header(message, "cseq");
    const state = this.calls.get(id);
    const status = Number(message.first.slice(8, 11));
    if (!state || !message.first.startsWith("SIP/2.0 ") || status === 100) return;
    if (cseq === "1 INVITE") this.signIn(message, state, status);
    else if (cseq === "2 INVITE") this.progress(message, state, status);
    else if (cseq === "3 BYE") this.end(id, status === 200, `BYE ${status}`);
  }

  private signIn(message: Message, state: Call, status: number): void {
    const { id } = state;
    const uri = `sip:${SERVICE}@${DOMAIN}`;
    this.socket.send(this.request("ACK", uri, id, "1 ACK", tagOf(message)), this.options.port, "127.0.0.1");
    if (state.askedAt !== 0) return; // again
    if (status !== 401) {
      this.end(id, false, `INVITE ${status}`);
      return;
    }
    state.askedAt = performance.now();
    this.repeats.send(
      id,
      this.request("INVITE", uri, id, "2 INVITE", "", [authorization(message, uri)], SDP),
      this.options.port,
    );
  }

  private progress(message: Message, state: Call, status: number): void {
    const passed = performance.now() - state.askedAt;
    if (status < 200) {
      this.repeats.stop(state.id);
      if (status === 180 && !state.rung && this.options.latencies) this.ringingMs.push(passed);
      state.rung = true;
      return;
    }
    if (state.ack !== "") {
      this.socket.send(state.ack, this.options.port, "127.0.0.1"); // again
      return;
    }
    this.repeats.stop(state.id);
    if (status !== 200) {
      this.socket.send(
        this.request("ACK", `sip:${SERVICE}@${DOMAIN}`, state.id, "2 ACK", tagOf(message)),
        this.options.port,
        "127.0.0.1",
      );
      this.end(state.id, false, `INVITE with credentials ${status}`);
      return;
    }
    if (this.options.latencies) this.answerMs.push(passed);
    const target = uriOf(header(message, "contact"));
    const routes = message.lines
      .filter((line) => /^record-route:/i.test(line))
      .map((line) => `Route:${line.slice(line.indexOf(":") + 1)}`);
    const tag = tagOf(message);
    state.ack = this.request("ACK", target, state.id, "2 ACK", tag, routes);
    this.socket.send(state.ack, this.options.port, "127.0.0.1");
    setTimeout(
      () => this.repeats.send(state.id, this.request("BYE", target, state.id, "3 BYE", tag, routes), this.options.port),
      this.options.holdMs,
    );
  }

  private end(id: string, well: boolean, why: string): void {
    const state = this.calls.get(id);
    if (!state || state.over) return;
    state.over = true;
    this.repeats.stop(id);
    counters.current--;
    if (well) counters.successful++;
    else {
      counters.failed++;
      this.reasons[why] = (this.reasons[why] ?? 0) + 1;
    }
    if (++this.ended < this.options.calls) return;
    const seconds = (performance.now() - this.startedAt) / 1000;
    const { ringingMs, answerMs, reasons } = this;
    const done: Called = { ...counters, seconds, ringingMs, answerMs, reasons };
    process.send!({ done } satisfies Said, () => process.exit(0));
  }

  private request(
    method: string,
    uri: string,
    id: string,
    cseq: string,
    toTag: string,
    extra: readonly string[] = [],
    body = "",
  ): string {
    // The ACK of a refusal has the branch of its INVITE (RFC 3261 §17.1.1.3); it differs from call to call and from
    // CSeq to CSeq.
    const branch = `z9hG4bK${id.slice(0, id.indexOf("@"))}-${cseq[0]}${method === "BYE" ? "b" : ""}`;
    return [
      `${method} ${uri} SIP/2.0`,
      `Via: SIP/2.0/UDP 127.0.0.1:${this.port};rport;branch=${branch}`,
      "Max-Forwards: 70",
      `From: <sip:${USER}@${DOMAIN}>;tag=c${id.slice(0, id.indexOf("-"))}`,
      `To: <sip:${SERVICE}@${DOMAIN}>${toTag}`,
      `Call-ID: ${id}`,
      `CSeq: ${cseq}`,
      ...extra,
      ...(method === "INVITE"
        ? [`Contact: <sip:${USER}@127.0.0.1:${this.port};transport=UDP>`, "Content-Type: application/sdp"]
        : []),
      `Content-Length: ${body.length}`,
      "",
      body,
    ].join("\r\n");
  }
}

const tagOf = (message: Message) => /;tag=[^;]*/.exec(header(message, "to"))?.[0] ?? "";

/** RFC 7616 §3.4 with MD5 and qop=auth. */
function authorization(challenge: Message, uri: string): string {
  const asked = header(challenge, "www-authenticate");
  const of = (name: string) => new RegExp(`[ ,]${name}="?([^",]*)`, "i").exec(asked)?.[1] ?? "";
  const [realm, nonce] = [of("realm"), of("nonce")];
  const response = md5(`${md5(`${USER}:${realm}:${PASSWORD}`)}:${nonce}:00000001:bench:auth:${md5(`INVITE:${uri}`)}`);
  return `Authorization: Digest username="${USER}", realm="${realm}", nonce="${nonce}", uri="${uri}", algorithm=MD5, qop=auth, nc=00000001, cnonce="bench", response="${response}"`;
}

const [, , side, ...args] = process.argv;
process.once("disconnect", () => process.exit());
if (side === "answering") answer(socket, Number(args[0]), args[1] === "true");
else call(socket, JSON.parse(args[0]!) as CallingOptions);
setInterval(() => say({ counters: { ...counters } as Counters }), COUNTERS_EVERY_MS).unref();
