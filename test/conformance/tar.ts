import { gunzipSync } from "node:zlib";

const BLOCK_BYTES = 512;

/** The plain files of a .tar.gz (ustar): path and content. */
export function* filesOf(archive: Buffer): Generator<{ readonly path: string; readonly content: Buffer }> {
  const tar = gunzipSync(archive);
  for (let at = 0; at + BLOCK_BYTES <= tar.length; ) {
    const header = tar.subarray(at, at + BLOCK_BYTES);
    if (header[0] === 0) return; // the end: blocks of zeros
    const text = (from: number, length: number) => header.toString("latin1", from, from + length).split("\0", 1)[0]!;
    const size = Number.parseInt(text(124, 12).trim() || "0", 8);
    const type = text(156, 1);
    const prefix = text(345, 155);
    const start = at + BLOCK_BYTES;
    if (type === "0" || type === "") {
      yield {
        path: prefix === "" ? text(0, 100) : `${prefix}/${text(0, 100)}`,
        content: tar.subarray(start, start + size),
      };
    }
    at = start + Math.ceil(size / BLOCK_BYTES) * BLOCK_BYTES;
  }
}
