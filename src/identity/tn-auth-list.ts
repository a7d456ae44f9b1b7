import type { X509Certificate } from "node:crypto";

/** What a certificate for telephone numbers is good for (RFC 8226 §9). */
export interface TnAuthList {
  /** Service provider codes: of all numbers of that provider. */
  readonly spc: readonly string[];
  /** Single numbers, and ranges as `+441632960000 (1000)`. */
  readonly numbers: readonly string[];
}

/** id-pe-TNAuthList, as DER. */
const OID = Buffer.from("06082b0601050507011a", "hex");

/**
 * Reads the extension TNAuthList of a certificate; undefined: it has none, or one that cannot be read. Node does not
 * show extensions that it does not know, so they are looked for in the bytes.
 */
export function tnAuthListOf({ raw }: Pick<X509Certificate, "raw">): TnAuthList | undefined {
  const at = raw.indexOf(OID);
  if (at < 0) return undefined;
  let next = read(raw, at + OID.length);
  if (next?.tag === 0x01) next = read(raw, next.end); // critical
  const list = next?.tag === 0x04 ? read(next.content, 0) : undefined;
  if (list?.tag !== 0x30) return undefined;
  const spc: string[] = [];
  const numbers: string[] = [];
  for (let i = 0; i < list.content.length; ) {
    const entry = read(list.content, i);
    if (!entry) return undefined;
    i = entry.end;
    // Explicit tags: [0] spc, [1] range, [2] one (RFC 8226 §9).
    const inner = read(entry.content, 0);
    if (entry.tag === 0xa0 && inner) spc.push(inner.content.toString("latin1"));
    else if (entry.tag === 0xa2 && inner) numbers.push(inner.content.toString("latin1"));
    else if (entry.tag === 0xa1 && inner) {
      const start = read(inner.content, 0);
      const count = start && read(inner.content, start.end);
      if (start && count)
        numbers.push(`${start.content.toString("latin1")} (${Number.parseInt(count.content.toString("hex"), 16)})`);
    } else return undefined;
  }
  return { spc, numbers };
}

interface Element {
  readonly tag: number;
  readonly content: Buffer;
  /** Where the next one begins. */
  readonly end: number;
}

/** One element of DER; undefined: there is none. */
function read(bytes: Buffer, at: number): Element | undefined {
  const tag = bytes[at];
  const first = bytes[at + 1];
  if (tag === undefined || first === undefined) return undefined;
  const more = first < 0x80 ? 0 : first & 0x7f;
  if (more > 3) return undefined;
  const length = more === 0 ? first : Number.parseInt(bytes.toString("hex", at + 2, at + 2 + more) || "ffffffff", 16);
  const begin = at + 2 + more;
  if (begin + length > bytes.length) return undefined;
  return { tag, content: bytes.subarray(begin, begin + length), end: begin + length };
}
