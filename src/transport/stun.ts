import { isIPv4 } from "node:net";

/*
 * STUN as RFC 5626 §8 has it: a client behind a NAT sends binding requests over UDP, to keep its way open, and sees by
 * the answer whether its address is still the same. Nothing else of STUN is served.
 */

const BINDING_REQUEST = 0x0001;
const BINDING_RESPONSE = 0x0101;
const COOKIE = 0x2112a442;
const HEAD_BYTES = 20;
const XOR_MAPPED_ADDRESS = 0x0020;

/**
 * The answer to a binding request (RFC 8489 §6, §14.2), with the address that it came from; undefined: it is none. It
 * is little longer than the request, so that nobody can aim more than that at a forged address.
 */
export function bindingResponse(datagram: Buffer, address: string, port: number): Buffer | undefined {
  if (datagram.length < HEAD_BYTES || datagram.readUInt16BE(0) !== BINDING_REQUEST) return undefined;
  if (datagram.readUInt32BE(4) !== COOKIE || datagram.readUInt16BE(2) !== datagram.length - HEAD_BYTES)
    return undefined;
  const bytes = addressBytes(address);
  const response = Buffer.alloc(HEAD_BYTES + 8 + bytes.length);
  response.writeUInt16BE(BINDING_RESPONSE, 0);
  response.writeUInt16BE(8 + bytes.length, 2);
  datagram.copy(response, 4, 4, HEAD_BYTES); // cookie and transaction
  response.writeUInt16BE(XOR_MAPPED_ADDRESS, HEAD_BYTES);
  response.writeUInt16BE(4 + bytes.length, HEAD_BYTES + 2);
  response[HEAD_BYTES + 5] = bytes.length === 4 ? 1 : 2;
  response.writeUInt16BE(port ^ (COOKIE >>> 16), HEAD_BYTES + 6);
  for (const [i, byte] of bytes.entries()) response[HEAD_BYTES + 8 + i] = byte ^ response[4 + i]!;
  return response;
}

function addressBytes(address: string): readonly number[] {
  if (isIPv4(address)) return address.split(".").map(Number);
  const [head = "", tail = ""] = (address.split("%")[0] ?? "").split("::");
  const groups = (text: string) => text.split(":").filter((group) => group !== "");
  const missing = Math.max(0, 8 - groups(head).length - groups(tail).length);
  const all = [...groups(head), ...new Array<string>(missing).fill("0"), ...groups(tail)];
  return all.flatMap((group) => [Number.parseInt(group, 16) >> 8, Number.parseInt(group, 16) & 0xff]);
}
