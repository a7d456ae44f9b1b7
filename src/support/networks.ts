import { isIP } from "node:net";
import { canonicalAddress, withoutZone } from "./address.ts";

/** Whether a text names an address or a network: `10.0.0.5`, `10.0.0.0/8`, `2001:db8::/32`. */
export function isNetwork(text: string): boolean {
  return readNetwork(text) !== undefined;
}

/** Addresses from the first to the last, both of them included. */
interface Range<T> {
  readonly first: T;
  last: T;
}

/**
 * A list of addresses and networks. Says whether an address is in it. Strangers choose the addresses, so a question
 * takes a few steps however long the list is. (BlockList of node:net reads the whole list: 0.7 ms for 10,000 networks.)
 */
export class Networks {
  private readonly v4: readonly Range<number>[];
  /** Addresses as 32 hexadecimal digits. */
  private readonly v6: readonly Range<string>[];
  readonly isEmpty: boolean;

  /** A text that is no network is left out: the configuration was checked before. */
  constructor(texts: readonly string[]) {
    this.isEmpty = texts.length === 0;
    const v4: Range<number>[] = [];
    const v6: Range<string>[] = [];
    for (const text of texts) {
      const network = readNetwork(text);
      if (network?.family === 4) {
        const size = 2 ** (32 - network.bits);
        const first = Math.floor(v4Of(network.address) / size) * size;
        v4.push({ first, last: first + size - 1 });
      } else if (network) {
        const size = 1n << BigInt(128 - network.bits);
        const first = (BigInt(`0x${digitsOf(network.address)}`) / size) * size;
        v6.push({ first: hex(first), last: hex(first + size - 1n) });
      }
    }
    this.v4 = merged(v4);
    this.v6 = merged(v6);
  }

  /**
   * `address`: IPv4 or IPv6, in any spelling. An IPv4 address that is mapped into IPv6 counts as that IPv4 address. Any
   * other text is in no network.
   */
  includes(address: string): boolean {
    if (this.isEmpty) return false;
    const number = v4Of(address);
    if (number >= 0) return within(this.v4, number);
    const canonical = canonicalAddress(address);
    if (canonical === undefined) return false;
    const mapped = v4Of(canonical);
    if (mapped >= 0) return within(this.v4, mapped);
    return this.v6.length > 0 && within(this.v6, digitsOf(withoutZone(canonical)));
  }
}

/** Sorted, and without overlaps. */
function merged<T extends number | string>(ranges: Range<T>[]): Range<T>[] {
  ranges.sort((a, b) => (a.first < b.first ? -1 : a.first > b.first ? 1 : 0));
  const all: Range<T>[] = [];
  for (const range of ranges) {
    const before = all.at(-1);
    if (!before || range.first > before.last) all.push({ ...range });
    else if (range.last > before.last) before.last = range.last;
  }
  return all;
}

function within<T extends number | string>(ranges: readonly Range<T>[], address: T): boolean {
  let low = 0;
  let high = ranges.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (ranges[middle]!.last < address) low = middle + 1;
    else high = middle;
  }
  return low < ranges.length && ranges[low]!.first <= address;
}

/** The number of an IPv4 address; -1: it is none. */
function v4Of(text: string): number {
  let value = 0;
  let octet = -1;
  let dots = 0;
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code === 0x2e) {
      if (octet < 0 || dots === 3) return -1;
      value = value * 256 + octet;
      octet = -1;
      dots++;
    } else {
      if (code < 0x30 || code > 0x39 || octet === 0) return -1; // a zero in front may mean an octal number
      octet = octet < 0 ? code - 0x30 : octet * 10 + code - 0x30;
      if (octet > 255) return -1;
    }
  }
  return dots === 3 && octet >= 0 ? value * 256 + octet : -1;
}

/** All digits of an IPv6 address in its canonical form. */
function digitsOf(address: string): string {
  const [before = "", after] = address.split("::");
  const head = groupsOf(before);
  if (after === undefined) return head;
  const tail = groupsOf(after);
  return head + "0".repeat(32 - head.length - tail.length) + tail;
}

function groupsOf(text: string): string {
  let digits = "";
  if (text === "") return digits;
  for (const group of text.split(":")) {
    // `::192.0.2.7`: so the system writes what ends like an IPv4 address (RFC 4291 §2.2).
    if (group.includes(".")) digits += v4Of(group).toString(16).padStart(8, "0");
    else digits += group.padStart(4, "0");
  }
  return digits;
}

const hex = (value: bigint): string => value.toString(16).padStart(32, "0");

function readNetwork(text: string): { address: string; bits: number; family: 4 | 6 } | undefined {
  const slash = text.indexOf("/");
  const address = canonicalAddress(slash < 0 ? text : text.slice(0, slash));
  const family = address === undefined || address.includes("%") ? 0 : isIP(address);
  if (address === undefined || family === 0) return undefined;
  const most = family === 4 ? 32 : 128;
  const bits = slash < 0 ? most : /^\d{1,3}$/.test(text.slice(slash + 1)) ? Number(text.slice(slash + 1)) : -1;
  return bits < 0 || bits > most ? undefined : { address, bits, family: family === 4 ? 4 : 6 };
}
