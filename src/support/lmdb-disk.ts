import { statfsSync } from "node:fs";

/** So much is kept free: far more than the pages that a commit writes besides its data. */
const RESERVE_BYTES = 16 * 2 ** 20;

/** Bytes that this process may still write to the file system of a folder; undefined if the system does not tell. */
export function freeBytesOf(folder: string): number | undefined {
  try {
    const { bavail, bsize } = statfsSync(folder);
    return bavail * bsize;
  } catch {
    return undefined;
  }
}

/**
 * The disk below a folder of lmdb. Every write goes through here. If the disk refuses a page, lmdb (3.5.6,
 * `mdb_page_flush`) writes its message of more than 100 characters into 100 octets of memory, and the process crashes
 * sooner or later. So no write is begun if the disk could become full before its end.
 */
export class LmdbDisk {
  /** As of the last look or write; undefined if the system does not tell. */
  freeBytes: number | undefined = undefined;
  private readonly folder: string;
  private readonly freeBytesOf: (folder: string) => number | undefined;

  constructor(folder: string, ask = freeBytesOf) {
    this.folder = folder;
    this.freeBytesOf = ask;
  }

  look(): number | undefined {
    this.freeBytes = this.freeBytesOf(this.folder);
    return this.freeBytes;
  }

  /**
   * Begins a write of about so many `bytes`, and resolves when it is done. Rejects with the cause if it failed, and
   * with ENOSPC if there is too little room to begin.
   */
  async write<T>(begin: () => Promise<T>, bytes = 0): Promise<T> {
    const freeBytes = this.look();
    if (freeBytes !== undefined && freeBytes < RESERVE_BYTES + bytes) throw this.noRoom(freeBytes);
    try {
      return await begin();
    } catch (error) {
      // lmdb rejects a second promise with the cause; if nobody listened to it, its rejection would end the process.
      const { commitError } = error as { commitError?: Promise<unknown> };
      throw commitError === undefined ? error : await commitError.catch((cause: unknown) => cause);
    }
  }

  private noRoom(freeBytes: number): Error {
    const [left, kept] = [freeBytes, RESERVE_BYTES].map((bytes) => `${Math.floor(bytes / 2 ** 20)} MiB`);
    const message = `the disk of ${this.folder} has ${left} left, and ${kept} are kept free: make room on it`;
    return Object.assign(new Error(message), { code: "ENOSPC" });
  }
}
