import { createHash } from "node:crypto";
import type { Hash, Hashes } from "./digest.ts";

const by =
  (name: string): Hash =>
  (text) =>
    createHash(name).update(text).digest("hex");

export const nodeHashes: Hashes = { "SHA-256": by("sha256"), "SHA-512-256": by("sha512-256"), MD5: by("md5") };
