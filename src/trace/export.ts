import { isIPv6 } from "node:net";
import { masked } from "./mask.ts";
import type { Place, Seen, SeenMessage } from "./seen.ts";
import { textOf } from "./text.ts";

/** One call of a trace. */
export interface TracedCall {
  readonly id: string;
  readonly items: readonly Seen[];
}

/** Times, arrows and what happened, and below each message all of it. */
export function traceText(calls: readonly TracedCall[]): string {
  return calls
    .map(({ id, items }) => {
      const lines = items.map((item) => {
        const line = `${new Date(item.at).toISOString()}  ${textOf(item)}`;
        if (item.kind !== "message") return line;
        const { local, peer } = item;
        const way =
          item.direction === "in"
            ? `${placeText(peer)} -> ${placeText(local)}`
            : `${placeText(local)} -> ${placeText(peer)}`;
        return `${line}\n    ${way}\n${printableLines(masked(item.bytes))}`;
      });
      return `call ${id}\n${lines.join("\n")}\n`;
    })
    .join("\n");
}

/** The same as data. Messages as text, masked. */
export const traceJson = (calls: readonly TracedCall[]): string =>
  JSON.stringify(
    calls.map(({ id, items }) => ({
      id,
      items: items.map((item) =>
        item.kind === "message" ? { ...item, bytes: undefined, message: masked(item.bytes) } : item,
      ),
    })),
    null,
    2,
  );

const placeText = ({ transport, address, port }: Place): string =>
  `${transport} ${isIPv6(address) ? `[${address}]` : address}:${port}`;

/** Text of peers must not control the terminal. */
const printableLines = (message: string): string =>
  message
    .split(/\r\n|\n/)
    .map((line) => `    ${line.replace(/[^\x20-\x7e]/g, "?")}`.trimEnd())
    .join("\n");

const messagesOf = (calls: readonly TracedCall[]): SeenMessage[] =>
  calls.flatMap(({ items }) => items.filter((item) => item.kind === "message")).sort((a, b) => a.at - b.at);

/** The most that an IP packet holds behind its header and that of UDP. */
const MOST_PAYLOAD = 65_000;

/**
 * A capture file that Wireshark and sngrep open: https://wiki.wireshark.org/Development/LibpcapFileFormat. Each message
 * is one UDP packet, whatever transport it really went by.
 */
export function tracePcap(calls: readonly TracedCall[]): Buffer {
  const head = Buffer.alloc(24);
  head.writeUInt32LE(0xa1b2c3d4, 0);
  head.writeUInt16LE(2, 4);
  head.writeUInt16LE(4, 6);
  head.writeUInt32LE(262_144, 16);
  head.writeUInt32LE(101, 20); // LINKTYPE_RAW: the packet begins with its IP header
  return Buffer.concat([head, ...messagesOf(calls).flatMap(packetOf)]);
}

function packetOf(message: SeenMessage): Buffer[] {
  const [from, to] = message.direction === "in" ? [message.peer, message.local] : [message.local, message.peer];
  const payload = Buffer.from(masked(message.bytes), "latin1").subarray(0, MOST_PAYLOAD);
  const source = octetsOf(from.address);
  const target = octetsOf(to.address);
  const isV6 = source.length === 16 || target.length === 16;
  const packet = ipPacket(isV6, widened(source, isV6), widened(target, isV6), udp(from.port, to.port, payload));
  const record = Buffer.alloc(16);
  record.writeUInt32LE(Math.floor(message.at / 1000), 0);
  record.writeUInt32LE((message.at % 1000) * 1000, 4);
  record.writeUInt32LE(packet.length, 8);
  record.writeUInt32LE(packet.length, 12);
  return [record, packet];
}

function udp(from: number, to: number, payload: Buffer): Buffer {
  const head = Buffer.alloc(8);
  head.writeUInt16BE(from, 0);
  head.writeUInt16BE(to, 2);
  head.writeUInt16BE(8 + payload.length, 4);
  return Buffer.concat([head, payload]); // RFC 768: a checksum of 0 says that there is none
}

function ipPacket(isV6: boolean, source: Buffer, target: Buffer, payload: Buffer): Buffer {
  if (isV6) {
    const head = Buffer.alloc(8);
    head.writeUInt8(0x60, 0);
    head.writeUInt16BE(payload.length, 4);
    head.writeUInt8(17, 6);
    head.writeUInt8(64, 7);
    return Buffer.concat([head, source, target, payload]);
  }
  const head = Buffer.alloc(12);
  head.writeUInt8(0x45, 0);
  head.writeUInt16BE(20 + payload.length, 2);
  head.writeUInt8(64, 8);
  head.writeUInt8(17, 9);
  const whole = Buffer.concat([head, source, target]);
  whole.writeUInt16BE(checksum(whole), 10);
  return Buffer.concat([whole, payload]);
}

/** RFC 791: the complement of the sum of all 16-bit words. */
function checksum(bytes: Buffer): number {
  let sum = 0;
  for (let i = 0; i < bytes.length; i += 2) sum += bytes.readUInt16BE(i);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}

const widened = (octets: Buffer, isV6: boolean): Buffer =>
  isV6 && octets.length === 4 ? Buffer.concat([Buffer.alloc(10), Buffer.from([0xff, 0xff]), octets]) : octets;

/** The octets of an address; those of 0.0.0.0 where it is none. */
export function octetsOf(address: string): Buffer {
  const plain = address.replace(/%.*$/, "");
  if (!isIPv6(plain)) {
    const parts = plain.split(".").map(Number);
    return parts.length === 4 && parts.every((part) => part >= 0 && part < 256) ? Buffer.from(parts) : Buffer.alloc(4);
  }
  const v4 = /^(.*:)(\d+)\.(\d+)\.(\d+)\.(\d+)$/.exec(plain);
  const text = v4
    ? `${v4[1]}${((Number(v4[2]) << 8) | Number(v4[3])).toString(16)}:${((Number(v4[4]) << 8) | Number(v4[5])).toString(16)}`
    : plain;
  const [head = "", tail] = text.split("::");
  const first = head === "" ? [] : head.split(":");
  const last = tail === undefined || tail === "" ? [] : tail.split(":");
  const zeros = Array.from({ length: 8 - first.length - last.length }, () => "0");
  const octets = Buffer.alloc(16);
  for (const [i, group] of [...first, ...zeros, ...last].entries())
    octets.writeUInt16BE(Number.parseInt(group, 16), 2 * i);
  return octets;
}

/** HEP version 3 of one message, for Homer: https://github.com/sipcapture/HEP. */
export function hepPacket(message: SeenMessage, correlation: string, agent = 2060): Buffer {
  const [from, to] = message.direction === "in" ? [message.peer, message.local] : [message.local, message.peer];
  const source = octetsOf(from.address);
  const target = octetsOf(to.address);
  const isV6 = source.length === 16 || target.length === 16;
  const chunks = [
    chunk(1, Buffer.from([isV6 ? 10 : 2])),
    chunk(2, Buffer.from([message.peer.transport === "udp" ? 17 : 6])),
    chunk(isV6 ? 5 : 3, widened(source, isV6)),
    chunk(isV6 ? 6 : 4, widened(target, isV6)),
    chunk(7, uint16(from.port)),
    chunk(8, uint16(to.port)),
    chunk(9, uint32(Math.floor(message.at / 1000))),
    chunk(10, uint32((message.at % 1000) * 1000)),
    chunk(11, Buffer.from([1])), // SIP
    chunk(12, uint32(agent)),
    chunk(15, Buffer.from(masked(message.bytes), "latin1").subarray(0, MOST_PAYLOAD)),
    chunk(17, Buffer.from(correlation, "latin1")),
  ];
  const body = Buffer.concat(chunks);
  return Buffer.concat([Buffer.from("HEP3"), uint16(6 + body.length), body]);
}

function chunk(type: number, payload: Buffer): Buffer {
  return Buffer.concat([uint16(0), uint16(type), uint16(6 + payload.length), payload]);
}

function uint16(value: number): Buffer {
  const bytes = Buffer.alloc(2);
  bytes.writeUInt16BE(value & 0xffff);
  return bytes;
}

function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value >>> 0);
  return bytes;
}

/** All messages of these calls, for Homer. */
export const traceHep = (calls: readonly TracedCall[]): Buffer[] =>
  calls
    .flatMap(({ id, items }) => items.flatMap((item) => (item.kind === "message" ? [{ id, item }] : [])))
    .sort((a, b) => a.item.at - b.item.at)
    .map(({ id, item }) => hepPacket(item, id));
