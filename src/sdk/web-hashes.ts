import { md5 } from "@noble/hashes/legacy.js";
import { sha256, sha512_256 } from "@noble/hashes/sha2.js";
import { bytesToHex } from "@noble/hashes/utils.js";
import type { Hash, Hashes } from "./digest.ts";

const by =
  (hash: (octets: Uint8Array) => Uint8Array): Hash =>
  (text) =>
    bytesToHex(hash(new TextEncoder().encode(text)));

/** A browser's own hashes come later than they are asked for, and only on pages that came by TLS. */
export const webHashes: Hashes = { "SHA-256": by(sha256), "SHA-512-256": by(sha512_256), MD5: by(md5) };
