// Loaded into the relay by `node --import` for `npm run bench:core`: both ends of calls, within the relay's own process
// and without a socket. What the relay sends to its UDP socket is answered here by prepared text, and what that costs
// is measured and taken out. Nothing here imports the project, so any state of the code can be measured.
import { createHash } from "node:crypto";
import dgram from "node:dgram";
import { EventEmitter } from "node:events";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { syncBuiltinESMExports } from "node:module";

const {
  calls: CALLS,
  rounds: ROUNDS,
  warmUp: WARM_UP,
  atOnce: AT_ONCE,
  standing: STANDING,
  out: OUT,
} = JSON.parse(process.env.TOLLGATE_BENCH_CORE);
const HOST = "127.0.0.1";
const CLIENT = 5061;
const SERVER = 5070;
const RELAY_READY_MS = 1_500;
const SDP =
  "v=0\r\no=alice 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 6000 RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\n";
const HA1 = md5("alice:portal.example:secret");
const HA2 = md5("INVITE:sip:wine@portal.example");

function md5(text) {
  return createHash("md5").update(text).digest("hex");
}

/** Microseconds that this thread or all threads have run, as the kernel counted them. */
function ranUs(tasks) {
  let ns = 0;
  for (const task of tasks) {
    try {
      ns += Number(readFileSync(`/proc/self/task/${task}/schedstat`, "latin1").split(" ")[0]);
    } catch {} // that thread has ended
  }
  return ns / 1000;
}
const threads = () => readdirSync("/proc/self/task");

let socket;
let port = 0;
let ownMs = 0;
/**
 * What goes to the relay: each message in a turn of its own of the event loop, since many in one turn are an overload.
 */
const waiting = [];
let pumps = false;
function pump() {
  const [bytes, from] = waiting.shift();
  if (waiting.length > 0) setImmediate(pump);
  else pumps = false;
  socket.emit("message", bytes, { address: HOST, port: from, family: "IPv4", size: bytes.length });
}
function deliver(text, from) {
  waiting.push([Buffer.from(text, "latin1"), from]);
  if (pumps) return;
  pumps = true;
  setImmediate(pump);
}

class MemorySocket extends EventEmitter {
  bind(options, done) {
    port = options.port;
    socket = this;
    setImmediate(() => {
      this.emit("listening");
      done?.();
      setTimeout(run, RELAY_READY_MS);
    });
    return this;
  }
  address() {
    return { address: HOST, port, family: "IPv4" };
  }
  setRecvBufferSize() {}
  setSendBufferSize() {}
  getSendQueueSize() {
    return 0;
  }
  send(bytes, to, _host, sent) {
    const began = performance.now();
    // As a socket's, the call back comes in a later turn.
    if (sent) setImmediate(sent, null);
    const text = bytes.latin1Slice(0, bytes.length);
    if (to === CLIENT) client(text);
    else if (to === SERVER) server(text);
    ownMs += performance.now() - began;
  }
  close(done) {
    setImmediate(() => done?.());
  }
  ref() {}
  unref() {}
}
dgram.createSocket = () => new MemorySocket();
syncBuiltinESMExports();

/** The first line of that name, without its line end. */
function line(text, name) {
  const at = text.indexOf(`\r\n${name}: `) + 2;
  return at < 2 ? "" : text.slice(at, text.indexOf("\r\n", at));
}
function lines(text, name) {
  let all = "";
  for (let at = text.indexOf(`\r\n${name}: `); at >= 0; at = text.indexOf(`\r\n${name}: `, at + 2))
    all += text.slice(at + 2, text.indexOf("\r\n", at + 2) + 2);
  return all;
}

function answer(request, status, tagged, extra, body) {
  const to = line(request, "To");
  return `SIP/2.0 ${status}\r\n${lines(request, "Via")}${lines(request, "Record-Route")}${line(request, "From")}\r\n${to}${
    tagged && !to.includes(";tag=") ? ";tag=srv" : ""
  }\r\n${line(request, "Call-ID")}\r\n${line(request, "CSeq")}\r\n${extra}Content-Length: ${body.length}\r\n\r\n${body}`;
}

function server(text) {
  if (text.startsWith("INVITE")) {
    const contact = `Contact: <${text.slice(7, text.indexOf(" ", 7))}>\r\n`;
    deliver(answer(text, "180 Ringing", true, contact, ""), SERVER);
    deliver(answer(text, "200 OK", true, `${contact}Content-Type: application/sdp\r\n`, SDP), SERVER);
  } else if (text.startsWith("BYE")) deliver(answer(text, "200 OK", false, "", ""), SERVER);
}

let begun = 0;
let ended = 0;
let failed = 0;
let wanted = 0;
let done;
/** Calls that stay until the end of the measurement. */
let hold = false;
const held = [];

function request(method, uri, cseq, id, to, routes, extra, body) {
  return `${method} ${uri} SIP/2.0\r\nVia: SIP/2.0/UDP ${HOST}:${CLIENT};rport;branch=z9hG4bK-${id}-${cseq}${method[0]}\r\n${routes}Max-Forwards: 70\r\n${
    method === "INVITE" ? "User-Agent: SIPp\r\n" : ""
  }From: <sip:alice@portal.example>;tag=c${id}\r\nTo: <sip:wine@portal.example>${to}\r\nCall-ID: ${id}@${HOST}\r\nCSeq: ${cseq} ${method}\r\n${extra}Content-Length: ${body.length}\r\n\r\n${body}`;
}
const CONTACT = `Contact: <sip:alice@${HOST}:${CLIENT};transport=UDP>\r\nContent-Type: application/sdp\r\n`;
const SERVICE = "sip:wine@portal.example";

function begin() {
  const id = `${++begun}-${process.pid}`;
  deliver(request("INVITE", SERVICE, 1, id, "", "", CONTACT, SDP), CLIENT);
}

const paramOf = (text, name) => new RegExp(`${name}="([^"]*)"`).exec(text)?.[1];

function client(text) {
  if (!text.startsWith("SIP/2.0 ")) return;
  const status = text.slice(8, 11);
  if (status[0] === "1") return;
  const cseq = line(text, "CSeq");
  const callId = line(text, "Call-ID");
  const id = callId.slice(9, callId.indexOf("@"));
  const to = line(text, "To");
  const tag = to.slice(to.indexOf(";tag="));
  if (cseq === "CSeq: 1 INVITE" && status === "401") {
    deliver(request("ACK", SERVICE, 1, id, tag, "", "", ""), CLIENT);
    const all = lines(text, "WWW-Authenticate").split("\r\n");
    const challenge = all.find((one) => one.includes("algorithm=MD5")) ?? all[0];
    const nonce = paramOf(challenge, "nonce");
    const opaque = paramOf(challenge, "opaque");
    const response = md5(`${HA1}:${nonce}:00000001:bench:auth:${HA2}`);
    const credentials = `Authorization: Digest username="alice",realm="portal.example",nonce="${nonce}",uri="${SERVICE}",response="${response}",algorithm=MD5,qop=auth,nc=00000001,cnonce="bench"${opaque ? `,opaque="${opaque}"` : ""}\r\n`;
    deliver(request("INVITE", SERVICE, 2, id, "", "", credentials + CONTACT, SDP), CLIENT);
  } else if (cseq === "CSeq: 2 INVITE" && status === "200") {
    const contact = line(text, "Contact");
    const target = contact.slice(contact.indexOf("<") + 1, contact.indexOf(">"));
    const routes = lines(text, "Record-Route").replace(/Record-Route/g, "Route");
    deliver(request("ACK", target, 2, id, tag, routes, "", ""), CLIENT);
    if (hold) held.push([target, id, tag, routes]);
    else deliver(request("BYE", target, 3, id, tag, routes, "", ""), CLIENT);
    if (hold) end(true);
  } else if (cseq === "CSeq: 3 BYE") end(status === "200");
  else {
    console.error(text);
    end(false);
  }
}

function end(well) {
  ended++;
  if (!well) failed++;
  if (begun < wanted) begin();
  else if (ended === wanted) done();
}

async function calls(count) {
  wanted = begun + count;
  const finished = new Promise((resolve) => {
    done = resolve;
  });
  for (let i = 0; i < AT_ONCE && begun < wanted; i++) begin();
  await finished;
}

const { gc } = globalThis;
const heap = () => {
  gc?.();
  gc?.();
  return process.memoryUsage().heapUsed;
};

async function run() {
  const rounds = [];
  await calls(WARM_UP);
  await new Promise((resolve) => setTimeout(resolve, 200));
  for (let i = 0; i < ROUNDS; i++) {
    ownMs = 0;
    const before = threads();
    const [main, all, began] = [ranUs([process.pid]), ranUs(before), performance.now()];
    await calls(CALLS);
    const now = ranUs([process.pid]) - main;
    rounds.push({
      mainUs: now / CALLS,
      helpersUs: (ranUs(threads()) - all - now) / CALLS,
      endsUs: (ownMs * 1000) / CALLS,
      perSecond: CALLS / ((performance.now() - began) / 1000),
    });
  }
  const report = { rounds, failed };
  if (STANDING > 0) {
    // What ended leaves its transactions for up to 32 s (Timer B, H, L); here so short that they are gone (t1Ms).
    await new Promise((resolve) => setTimeout(resolve, 15_000));
    const empty = heap();
    hold = true;
    await calls(STANDING);
    await new Promise((resolve) => setTimeout(resolve, 15_000));
    report.standingBytes = (heap() - empty) / STANDING;
    if (process.env.TOLLGATE_BENCH_SNAPSHOT)
      (await import("node:v8")).writeHeapSnapshot(process.env.TOLLGATE_BENCH_SNAPSHOT);
  }
  writeFileSync(OUT, JSON.stringify(report));
  // Where the process stood still for long, the relay refuses a few; many would make the figures too good.
  process.exit(failed > ended / 100 ? 1 : 0);
}
