import type { Socket } from "node:net";
import { canonicalAddress } from "../support/address.ts";

/*
 * The PROXY protocol, versions 1 and 2 (https://www.haproxy.org/download/2.9/doc/proxy-protocol.txt): a load balancer
 * of TCP or TLS says before everything else for whom it has opened a connection.
 */

/** For whom a connection was opened; `own`: for the load balancer itself, e.g. to see whether we are there. */
export type Announced = { readonly address: string; readonly port: number } | "own";

const SIGNATURE = Buffer.from("\r\n\r\n\0\r\nQUIT\n", "latin1");
const HEAD_BYTES = 16;
/** Version 1: a line of at most so many bytes, CRLF included. */
const MAX_LINE = 107;
/** Version 2: addresses, and what a load balancer says besides. */
const MAX_REST = 2_048;

export interface ReadHeader {
  readonly from: Announced;
  /** How many bytes the header has. */
  readonly bytes: number;
}

/** Reads the header at the beginning of `bytes`. `more`: it is not all there; undefined: it is none. */
export function readProxyHeader(bytes: Buffer): ReadHeader | "more" | undefined {
  const least = Math.min(bytes.length, SIGNATURE.length);
  if (bytes.compare(SIGNATURE, 0, least, 0, least) === 0) return bytes.length < HEAD_BYTES ? "more" : readBinary(bytes);
  return readLine(bytes);
}

function readBinary(bytes: Buffer): ReadHeader | "more" | undefined {
  const command = bytes[12]!;
  const family = bytes[13]!;
  const rest = bytes.readUInt16BE(14);
  if (command >> 4 !== 2 || (command & 15) > 1 || rest > MAX_REST) return undefined;
  const all = HEAD_BYTES + rest;
  if (bytes.length < all) return "more";
  if ((command & 15) === 0) return { from: "own", bytes: all };
  const isV6 = family === 0x21; // TCP over IPv6; 0x11: over IPv4
  const size = isV6 ? 16 : 4;
  if ((!isV6 && family !== 0x11) || rest < 2 * size + 4) return undefined;
  const address = canonicalAddress(
    isV6 ? hexGroups(bytes.subarray(HEAD_BYTES, HEAD_BYTES + size)) : bytes.subarray(HEAD_BYTES, 20).join("."),
  );
  return address === undefined
    ? undefined
    : { from: { address, port: bytes.readUInt16BE(HEAD_BYTES + 2 * size) }, bytes: all };
}

const hexGroups = (octets: Buffer): string => octets.toString("hex").match(/.{4}/g)!.join(":");

function readLine(bytes: Buffer): ReadHeader | "more" | undefined {
  const end = bytes.indexOf("\r\n");
  const line = bytes.toString("latin1", 0, end < 0 ? MAX_LINE : end);
  if (!"PROXY ".startsWith(line.slice(0, 6))) return undefined;
  if (end < 0) return bytes.length < MAX_LINE ? "more" : undefined;
  if (end + 2 > MAX_LINE) return undefined;
  const [, family, source = "", , port = ""] = line.split(" ");
  if (family === "UNKNOWN") return { from: "own", bytes: end + 2 };
  const address = canonicalAddress(source);
  if ((family !== "TCP4" && family !== "TCP6") || address === undefined || !/^\d{1,5}$/.test(port)) return undefined;
  return { from: { address, port: Number(port) }, bytes: end + 2 };
}

/**
 * Takes the header off a new connection, and calls `then` with what it says; undefined: there is none. What came after
 * it is left in the socket. `then` is not called if the connection ends before.
 */
export function takeProxyHeader(socket: Socket, then: (from: Announced | undefined) => void): void {
  let bytes: Buffer = Buffer.alloc(0);
  const read = () => {
    const chunk = socket.read() as Buffer | null;
    if (chunk === null) return;
    bytes = bytes.length === 0 ? chunk : Buffer.concat([bytes, chunk]);
    const header = readProxyHeader(bytes);
    if (header === "more") return;
    socket.off("readable", read);
    if (header && header.bytes < bytes.length) socket.unshift(bytes.subarray(header.bytes));
    then(header?.from);
  };
  socket.on("readable", read);
}
