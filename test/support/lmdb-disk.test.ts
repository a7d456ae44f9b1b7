import { describe, expect, it } from "vitest";
import { freeBytesOf, LmdbDisk } from "../../src/support/lmdb-disk.ts";

const MIB = 2 ** 20;

/** A disk with so much room, and whether a write of so many bytes is begun on it. */
async function begins(freeBytes: number | undefined, bytes?: number): Promise<boolean> {
  let begun = false;
  const disk = new LmdbDisk("/data", () => freeBytes);
  const write = async () => {
    begun = true;
  };
  await disk.write(write, bytes).catch(() => {});
  expect(disk.freeBytes).toBe(freeBytes);
  return begun;
}

describe("the disk below lmdb (P4)", () => {
  it("begins a write where 16 MiB stay free", async () => {
    expect(await begins(16 * MIB)).toBe(true);
    expect(await begins(16 * MIB - 1)).toBe(false);
    expect(await begins(20 * MIB, 4 * MIB)).toBe(true);
    expect(await begins(20 * MIB, 4 * MIB + 1)).toBe(false);
  });

  it("begins a write where the system does not tell", async () => {
    expect(await begins(undefined)).toBe(true);
  });

  it("says what is to be done", async () => {
    const disk = new LmdbDisk("/var/lib/tollgate", () => 3.5 * MIB);
    await expect(disk.write(async () => {})).rejects.toMatchObject({
      code: "ENOSPC",
      message: "the disk of /var/lib/tollgate has 3 MiB left, and 16 MiB are kept free: make room on it",
    });
  });

  it("rejects with the cause that lmdb keeps in a second promise", async () => {
    const cause = new Error("No space left on device");
    const failed = Object.assign(new Error("Commit failed (see commitError for details)"), {
      commitError: Promise.reject(cause),
    });
    const disk = new LmdbDisk("/data", () => undefined);
    await expect(disk.write(() => Promise.reject(failed))).rejects.toBe(cause);
    await expect(disk.write(() => Promise.reject(cause))).rejects.toBe(cause);
  });

  it("asks the system", () => {
    expect(freeBytesOf(".")).toBeGreaterThan(0);
    expect(freeBytesOf("/nowhere/at/all")).toBeUndefined();
  });
});
