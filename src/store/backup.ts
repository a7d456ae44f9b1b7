import {
  chmodSync,
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
} from "node:fs";
import { join, relative, resolve } from "node:path";
import { open } from "lmdb";
import { privateFiles, privateFolder } from "../support/private-folder.ts";

/*
 * Copies of a data folder. The journal is copied before the outbox of usage and the store: an event that leaves the
 * journal in between is in both copies, and its id keeps it from being billed twice. The other way round it would be in
 * none of them.
 */

/** Whether one of the two folders is the other, or lies in it. */
function overlap(one: string, other: string): boolean {
  const isIn = (inner: string, outer: string) => !relative(outer, inner).split("/").includes("..");
  const [a, b] = [placeOf(one), placeOf(other)];
  return isIn(a, b) || isIn(b, a);
}

/** Without links, as far as it is there. */
const placeOf = (path: string): string => (existsSync(path) ? realpathSync(path) : resolve(path));

const DATABASES = ["journal", "usage", "store"] as const;

/**
 * Copies the data folder of a relay, which may run, into a folder that is made, or is empty. Each database is copied as
 * of one moment. Returns what was copied. Rejects if there is nothing to copy, or the folder has files.
 */
export async function backUp(data: string, to: string): Promise<string[]> {
  const there = DATABASES.filter((name) => existsSync(join(data, name, "data.mdb")));
  if (there.length === 0) throw new Error(`${data} has no data of a relay`);
  if (overlap(data, to))
    throw new Error(`${to} and the data folder ${data} are in each other: name a folder elsewhere`);
  if (existsSync(to) && readdirSync(to).length > 0) throw new Error(`${to} is not empty: name a new folder`);
  privateFolder(to);
  for (const name of there) await copyDatabase(join(data, name), join(to, name));
  const files = readdirSync(data).filter((name) => statSync(join(data, name)).isFile());
  for (const name of files) copyFileSync(join(data, name), join(to, name));
  privateFiles(to);
  return [...there, ...files];
}

async function copyDatabase(from: string, to: string): Promise<void> {
  mkdirSync(to, { mode: 0o700 });
  const root = open({ path: from, readOnly: true, encoding: "binary", noSubdir: false, maxDbs: 64 });
  try {
    await root.backup(to, false);
  } finally {
    await root.close();
  }
  privateFiles(to);
}

/**
 * Puts a copy in the place of the data folder, which no relay may use. What is there is moved aside. Returns where to;
 * undefined: there was nothing. Throws if `from` is no copy, or something was moved aside before.
 */
export function restore(from: string, data: string): string | undefined {
  if (!DATABASES.some((name) => existsSync(join(from, name, "data.mdb"))))
    throw new Error(`${from} is no copy of a data folder`);
  if (overlap(data, from)) throw new Error(`${from} and the data folder ${data} are in each other: move the copy away`);
  const isUsed = existsSync(data) && readdirSync(data).length > 0;
  const aside = `${data.replace(/\/+$/, "")}.before-restore`;
  if (isUsed && existsSync(aside)) throw new Error(`${aside} is there already: move it away first`);
  if (isUsed) renameSync(data, aside);
  else rmSync(data, { recursive: true, force: true });
  cpSync(from, data, { recursive: true, errorOnExist: true, force: false });
  chmodSync(data, 0o700);
  for (const name of DATABASES) if (existsSync(join(data, name))) chmodSync(join(data, name), 0o700);
  return isUsed ? aside : undefined;
}
