import { Duplex } from "node:stream";
import { formatChargeBody, parseChargeBody, parseDirectBody } from "../../src/charging/charges/body.ts";
import { readFields } from "../../src/directory/body.ts";
import { contactOf, publicGruu, readGruu } from "../../src/registrar/gruu.ts";
import type { WantedContact } from "../../src/registrar/read-register.ts";
import { readRegister } from "../../src/registrar/read-register.ts";
import { parseAuthorization, parseChallenge } from "../../src/sip/digest.ts";
import { parseRequestDisposition } from "../../src/sip/disposition.ts";
import { type Frame, StreamFramer } from "../../src/sip/frame.ts";
import {
  formatNameAddr,
  formatVia,
  parseAuthParams,
  parseContentType,
  parseCSeq,
  parseNameAddr,
  parseVia,
  splitList,
  withTag,
} from "../../src/sip/headers.ts";
import { Headers } from "../../src/sip/message.ts";
import { parseMessage } from "../../src/sip/parse.ts";
import { bodyParts } from "../../src/sip/parts.ts";
import { parseIdentity } from "../../src/sip/passport.ts";
import { parseEvent, parseReferTo, parseReplaces, parseTargetDialog } from "../../src/sip/refer.ts";
import { serialize } from "../../src/sip/serialize.ts";
import { formatUri, parseUri, sipUriOf, telephoneNumber, uriHeaders } from "../../src/sip/uri.ts";
import { readProxyHeader } from "../../src/transport/proxy-protocol.ts";
import { bindingResponse } from "../../src/transport/stun.ts";
import { ws } from "../../src/transport/web-socket.ts";
import { binding } from "../registrar/samples.ts";
import { essence } from "../sip/messages.ts";

/** One entrance for bytes from strangers. */
export interface Target {
  readonly name: string;
  /** What the first round begins with, beside the corpus. */
  readonly seeds: readonly string[];
  /** Pieces that steer it. */
  readonly words: readonly string[];
  /** Throws if the code throws, or does not keep a promise. */
  run(bytes: Buffer): void | Promise<void>;
}

function same(what: string, a: string, b: string): void {
  if (a !== b) throw new Error(`${what}: ${JSON.stringify(a.slice(0, 300))} became ${JSON.stringify(b.slice(0, 300))}`);
}

const MESSAGE = [
  "INVITE sip:wine@portal.example;transport=tcp SIP/2.0",
  "Via: SIP/2.0/TCP 192.0.2.1:5060;rport;branch=z9hG4bK1",
  'From: "A" <sip:alice@portal.example>;tag=1',
  "To: <sip:wine@portal.example>",
  "Call-ID: 1@a",
  "CSeq: 1 INVITE",
  "Max-Forwards: 70",
  "Contact: <sip:alice@192.0.2.1>;q=0.5",
  "Content-Type: application/xml",
  "Content-Length: 4",
  "",
  "<a/>",
].join("\r\n");
const SIP_WORDS = ["\r\n", "\r\n\r\n", "\r\n ", ";", ",", ":", "<", ">", '"', "\\", "%41", "=", "@", "[::1]", "?", "*"];

function message(bytes: Buffer): void {
  for (const framing of ["datagram", "stream"] as const) {
    const read = parseMessage(bytes, framing);
    if (!read.ok) {
      if (read.error.request) serialize(read.error.request);
      continue;
    }
    const written = serialize(read.value);
    const again = parseMessage(written, "stream");
    same("a message", JSON.stringify(essence(read.value)), again.ok ? JSON.stringify(essence(again.value)) : "nothing");
    const { value } = read;
    void [value.via, value.from, value.to, value.cseq, value.fromTag, value.toTag, value.callId];
    bodyParts(value.headers.get("content-type") ?? "", value.body);
  }
}

const shown = (frames: readonly Frame[]): string =>
  frames
    .filter(({ kind }) => kind !== "ping")
    .map((frame) => (frame.kind === "message" ? frame.bytes.toString("latin1") : "error"))
    .join("\0\0");

const BOUNDS = { maxHeadBytes: 4_096, maxBodyBytes: 4_096 };

/** However a stream is cut into pieces, the same messages come out. The first byte says how. */
function stream(bytes: Buffer): void {
  const step = 1 + ((bytes[0] ?? 0) % 64);
  const text = bytes.subarray(1);
  const whole = new StreamFramer(BOUNDS).push(Buffer.from(text));
  const framer = new StreamFramer(BOUNDS);
  const pieces: Frame[] = [];
  for (let at = 0; at < text.length; at += step) {
    pieces.push(...framer.push(Buffer.from(text.subarray(at, at + step))));
    if (framer.pendingBytes > BOUNDS.maxHeadBytes + BOUNDS.maxBodyBytes + step) throw new Error("too much is kept");
  }
  same("a stream in pieces", shown(whole), shown(pieces));
}

function uri(bytes: Buffer): void {
  const text = bytes.toString("latin1");
  const read = parseUri(text);
  sipUriOf(text);
  if (!read.ok) return;
  telephoneNumber(read.value);
  if (read.value.scheme === "sip" || read.value.scheme === "sips") uriHeaders(read.value as never);
  const written = formatUri(read.value);
  const again = parseUri(written);
  same("a URI", written, again.ok ? formatUri(again.value) : "nothing");
}

function headers(bytes: Buffer): void {
  const text = bytes.toString("latin1");
  const via = parseVia(text);
  if (via.ok) {
    const written = formatVia(via.value);
    const again = parseVia(written);
    same("a Via", written, again.ok ? formatVia(again.value) : "nothing");
  }
  const address = parseNameAddr(text);
  if (address.ok) {
    const written = formatNameAddr(address.value);
    const again = parseNameAddr(written);
    same("an address", written, again.ok ? formatNameAddr(again.value) : "nothing");
  }
  for (const one of splitList(text)) withTag(one, "t");
  for (const parse of [parseAuthParams, parseAuthorization, parseChallenge, parseContentType, parseCSeq]) parse(text);
  for (const parse of [parseReferTo, parseReplaces, parseTargetDialog, parseEvent, parseIdentity]) parse(text);
  parseRequestDisposition([text]);
}

/** Bodies without SDP: charges, and fields for rules. The first byte says of which kind. */
function bodies(bytes: Buffer): void {
  const body = bytes.subarray(1);
  const type = ["application/vnd.tollgate.charge+json", "application/vnd.tollgate.charge+xml"][(bytes[0] ?? 0) % 2]!;
  const read = parseChargeBody(type, body);
  if (read.ok) formatChargeBody(read.value as never);
  parseDirectBody(body);
  readFields(body, "json", 16_384);
  bodyParts("multipart/mixed;boundary=b", body);
}

function xml(bytes: Buffer): void {
  const fields = readFields(bytes, "xml", 16_384);
  if (fields.ok) void fields.value;
  parseChargeBody("application/vnd.tollgate.charge+xml", bytes);
}

const REGISTRAR = { expiresS: 3_600, minExpiresS: 60, maxExpiresS: 3_600 };
const MOST_CONTACTS = 10;

/** Contacts of a REGISTER, with what RFC 5626, 5627 and 8599 put there; a line each. */
function register(bytes: Buffer): void {
  const headers = new Headers();
  for (const line of bytes.toString("latin1").split(/\r?\n/)) {
    const [name = "", ...value] = line.split(":");
    headers.add(/^(expires|path)$/i.test(name) ? name : "Contact", value.join(":"));
  }
  for (const path of headers.all("path").flatMap(splitList)) {
    const address = parseNameAddr(path);
    if (address.ok) sipUriOf(address.value.uri);
  }
  const read = readRegister(headers, REGISTRAR, MOST_CONTACTS);
  if (!read.ok) return;
  const { contacts } = read.value;
  if (contacts.length > MOST_CONTACTS) throw new Error("too many contacts");
  for (const contact of contacts) {
    const { written, params, q, instance, regId, expiresS } = contact;
    if (expiresS > REGISTRAR.maxExpiresS) throw new Error("a contact that lasts too long");
    const made = binding({ contact: written, params, q, instance, regId, temps: ["t1"] });
    // As the 200 lists it, a client may send it again: it is the same binding then.
    for (const gruus of [false, true]) {
      const echo = contactOf(made, 60, gruus);
      if (/[\r\n]/.test(echo)) throw new Error(`a line break in ${JSON.stringify(echo)}`);
      const again = readRegister(new Headers().add("Contact", echo), REGISTRAR, MOST_CONTACTS);
      const [one] = again.ok ? again.value.contacts : [];
      const of = ({ key, params: more, q: preferred, instance: device, regId: flow }: WantedContact) =>
        JSON.stringify([key, more, preferred, device, flow]);
      same("a contact", of(contact), one ? of(one) : "nothing");
    }
    if (instance === undefined) continue;
    const uri = sipUriOf(publicGruu(made));
    const named = uri && readGruu(uri);
    same("a GRUU", instance, named && "instance" in named ? named.instance : "nothing");
  }
}

/** As much of a socket as the server needs. */
class Ends extends Duplex {
  readonly remoteAddress = "192.0.2.1";
  readonly remotePort = 1;
  override _read(): void {}
  override _write(_chunk: Buffer, _encoding: string, done: () => void): void {
    done();
  }
  setNoDelay(): this {
    return this;
  }
  setTimeout(): this {
    return this;
  }
  setKeepAlive(): this {
    return this;
  }
  destroySoon(): void {
    this.destroy();
  }
}

const UPGRADE = [
  "GET / HTTP/1.1",
  "Host: a",
  "Upgrade: websocket",
  "Connection: Upgrade",
  "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
  "Sec-WebSocket-Version: 13",
  "Sec-WebSocket-Protocol: sip",
  "",
  "",
].join("\r\n");
const MOST = 4_096;
const kind = ws({ certificates: undefined as never, maxMessageBytes: MOST });
let arrived: ((wire: Parameters<typeof kind.framer>[0]) => void) | undefined;
const door = kind.door!({
  ready: (wire) => arrived?.(wire),
  failed: () => {},
  forwarded: () => undefined,
});
const soon = () => new Promise((resolve) => setImmediate(resolve));

/** Frames of WebSocket, after a handshake; with an even first byte, also the handshake. */
async function webSocket(bytes: Buffer): Promise<void> {
  const socket = new Ends();
  socket.on("error", () => undefined);
  let failure: Error | undefined;
  arrived = (wire) => {
    const framer = kind.framer(wire, MOST);
    wire.on("error", () => undefined);
    wire.on("data", (chunk) => {
      for (const frame of framer.push(chunk))
        if (frame.kind === "message" && frame.bytes.length > MOST) failure = new Error("a message over the bound");
      if (framer.pendingBytes < 0) failure = new Error("less than nothing is waiting");
    });
  };
  door.take(socket as never);
  const text = bytes.subarray(1);
  socket.push((bytes[0] ?? 0) % 4 === 0 ? text : Buffer.concat([Buffer.from(UPGRADE), text]));
  await soon();
  await soon();
  socket.destroy();
  if (failure) throw failure;
}

function small(bytes: Buffer): void {
  const header = readProxyHeader(bytes);
  if (header && header !== "more" && header.bytes > bytes.length) throw new Error("a header that is longer than it is");
  bindingResponse(bytes, "192.0.2.1", 5060);
}

const masked = (opcode: number, text: string): string =>
  `\x01${String.fromCharCode(0x80 | opcode, 0x80 | text.length)}\0\0\0\0${text}`;

export const TARGETS: readonly Target[] = [
  {
    name: "message",
    seeds: [MESSAGE, `SIP/2.0 200 OK${MESSAGE.slice(MESSAGE.indexOf("\r\n"))}`],
    words: SIP_WORDS,
    run: message,
  },
  {
    name: "stream",
    seeds: [`\x07${MESSAGE}${MESSAGE}`, `\x01\r\n\r\n${MESSAGE}`],
    words: [...SIP_WORDS, "Content-Length: 0", "l:5"],
    run: stream,
  },
  {
    name: "uri",
    seeds: [
      "sip:alice:pw@portal.example:5060;transport=tcp;lr?subject=a&b=c",
      "sips:[2001:db8::1]:1",
      "tel:+1-2;phone-context=a",
    ],
    words: SIP_WORDS,
    run: uri,
  },
  {
    name: "headers",
    seeds: [
      "SIP/2.0/UDP [2001:db8::1]:5060;branch=z9hG4bK1;received=192.0.2.1;rport=1",
      '"A \\" B" <sip:a@b;x=y?z=1>;tag=1;expires=60, sip:c@d;q=0.1',
      'Digest username="a", realm="b", nonce="c", uri="sip:d", response="e", qop=auth, nc=00000001, cnonce="f"',
      "a@b;to-tag=1;from-tag=2;early-only",
    ],
    words: SIP_WORDS,
    run: headers,
  },
  {
    name: "register",
    seeds: [
      'Contact: "A" <sip:alice@192.0.2.1:5062;transport=tcp>;q=0.5;expires=120;+sip.instance="<urn:uuid:1>";reg-id=1',
      'm: <sip:a@x.invalid;transport=ws;ob>;+sip.ice;reg-id=2;+sip.instance="<urn:uuid:2>"\nExpires: 60\nPath: <sip:p;lr>',
      "Contact: <sip:a@b;pn-provider=fcm;pn-param=p;pn-prid=r%3a1>, sip:c@d;expires=0",
      "Contact: *\nExpires: 0",
    ],
    words: [
      ...SIP_WORDS,
      "\n",
      ";reg-id=",
      ";+sip.instance=",
      '"<urn:uuid:',
      ";q=0.",
      ";expires=",
      ";gr",
      ";pub-gruu=",
      ";ob",
      "%22",
      "%3E",
    ],
    run: register,
  },
  {
    name: "bodies",
    seeds: [
      '\0{"charges":[{"id":"1","item":"Riesling","unitPrice":"12.50","quantity":2,"currency":"EUR"}]}',
      "\0--b\r\nContent-Type: text/plain\r\n\r\nx\r\n--b--\r\n",
      '\0{"session":"s","charges":[{"item":"a","amount":"1"}]}',
    ],
    words: ['"', "{", "}", "[", "]", ":", ",", "\\u0000", "1e9", "null", "--b", "--b--", "\r\n", "__proto__"],
    run: bodies,
  },
  {
    name: "xml",
    seeds: [
      '<?xml version="1.0"?><charges><charge id="1"><item>a &amp; b</item><unitPrice>1.5</unitPrice></charge></charges>',
      '<a b="c" xmlns:d="e"><!-- f --><![CDATA[g]]><d:h/>&#x41;</a>',
    ],
    words: [
      "<",
      ">",
      "/>",
      "</",
      "<!--",
      "-->",
      "<![CDATA[",
      "]]>",
      "&#65;",
      "&lt;",
      "<!DOCTYPE",
      "<?",
      "?>",
      '"',
      "xmlns=",
    ],
    run: xml,
  },
  {
    name: "websocket",
    seeds: [
      masked(1, "OPTIONS sip:a SIP/2.0"),
      masked(2, "\r\n\r\n") + masked(9, "x").slice(1),
      masked(8, "\x03\xe8"),
      `\0${UPGRADE}`,
    ],
    words: [
      "\x81",
      "\x01",
      "\x80",
      "\x89",
      "\x8a",
      "\x88",
      "\xfe\x00\x80",
      "\xff",
      "\0\0\0\0",
      "\r\n",
      "Upgrade: websocket",
    ],
    run: webSocket,
  },
  {
    name: "small",
    seeds: [
      "PROXY TCP4 192.0.2.7 10.0.0.1 4711 5060\r\nx",
      "\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x07\x0a\0\0\x01\x12\x67\x13\xc4",
      "\0\x01\0\0\x21\x12\xa4\x42123456789012",
    ],
    words: ["PROXY ", "TCP6 ", "UNKNOWN", " ", "\r\n", "\x21\x21", "\x20", "\0\x24", "\x21\x12\xa4\x42"],
    run: small,
  },
];
