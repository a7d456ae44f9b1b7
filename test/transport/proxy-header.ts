import { isIPv6, SocketAddress } from "node:net";

/** The header of the PROXY protocol, version 1. */
export const v1 = (address: string, port: number): Buffer =>
  Buffer.from(`PROXY TCP${isIPv6(address) ? 6 : 4} ${address} 10.0.0.1 ${port} 5060\r\n`);

interface V2 {
  readonly version?: number;
  readonly command?: number;
  readonly family?: number;
  readonly more?: Buffer;
  readonly length?: number;
}

/** The same, version 2. */
export function v2(address: string, port: number, options: V2 = {}): Buffer {
  const from = octetsOf(address);
  const { version = 2, command = 1, family = from.length === 4 ? 0x11 : 0x21, more = Buffer.alloc(0) } = options;
  const rest = Buffer.concat([from, Buffer.alloc(from.length, 1), Buffer.from([port >> 8, port & 255, 19, 196]), more]);
  const length = Buffer.alloc(2);
  length.writeUInt16BE(options.length ?? rest.length);
  const head = Buffer.from("\r\n\r\n\0\r\nQUIT\n", "latin1");
  return Buffer.concat([head, Buffer.from([(version << 4) | command, family]), length, rest]);
}

function octetsOf(address: string): Buffer {
  if (!isIPv6(address)) return Buffer.from(address.split(".").map(Number));
  const { address: written } = new SocketAddress({ address, family: "ipv6" });
  const mapped = /^::ffff:([\d.]+)$/.exec(written)?.[1];
  if (mapped !== undefined)
    return Buffer.concat([Buffer.alloc(10), Buffer.from([255, 255, ...mapped.split(".").map(Number)])]);
  const [before = "", after = ""] = written.split("::");
  const groups = (text: string) => text.split(":").filter((group) => group !== "");
  const zeros = Array(8 - groups(before).length - groups(after).length).fill("0");
  const all = written.includes("::") ? [...groups(before), ...zeros, ...groups(after)] : groups(before);
  return Buffer.from(all.map((group) => group.padStart(4, "0")).join(""), "hex");
}
