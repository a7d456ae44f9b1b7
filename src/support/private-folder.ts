import { chmodSync, existsSync, mkdirSync, readdirSync, statSync } from "node:fs";
import { dirname, join, resolve } from "node:path";

/*
 * A folder whose files only their owner may read: password hashes are as good as passwords, and bills are private. The
 * folder may have been made by anybody with any umask, so its mode is always checked.
 */

const OTHERS = 0o077;
const STICKY = 0o1000;

type Chmod = (path: string, mode: number) => void;

/**
 * Makes a folder for its owner alone, or closes an existing one to others. Throws, and says what to do, if it stays
 * open to others, or if it is a folder that everybody uses, which must not be closed.
 */
export function privateFolder(path: string, chmod: Chmod = chmodSync): void {
  makeFolder(resolve(path));
  if (!isOpen(path)) return;
  const { mode } = statSync(path);
  const shown = (mode & 0o7777).toString(8).padStart(4, "0");
  if ((mode & STICKY) !== 0 || dirname(resolve(path)) === resolve(path))
    throw new Error(
      `${path} is for everybody (mode ${shown}): it takes a folder of its own, such as ${join(path, "tollgate")}`,
    );
  close(path, 0o700, chmod, `mode ${shown}`);
}

/** Node's own `recursive` never returns where a file system takes no folders, such as /proc. */
function makeFolder(path: string): void {
  if (existsSync(path)) return;
  makeFolder(dirname(path));
  try {
    mkdirSync(path, { mode: 0o700 });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
    statSync(path); // another process has made it; or it is a link that leads nowhere
  }
}

/** Closes the files in a folder to all but their owner: all files, or those of these names. */
export function privateFiles(folder: string, names = readdirSync(folder), chmod: Chmod = chmodSync): void {
  for (const name of names) {
    const path = join(folder, name);
    const there = statSync(path, { throwIfNoEntry: false });
    if (there?.isFile() && isOpen(path)) close(path, 0o600, chmod, `mode ${(there.mode & 0o7777).toString(8)}`);
  }
}

/** Windows has no such modes; a folder in a user's profile belongs to that user there. */
const isOpen = (path: string): boolean => process.platform !== "win32" && (statSync(path).mode & OTHERS) !== 0;

function close(path: string, mode: number, chmod: Chmod, was: string): void {
  let why = "the file system keeps no modes";
  try {
    chmod(path, mode);
    if (!isOpen(path)) return;
  } catch (error) {
    why = (error as Error).message;
  }
  throw new Error(
    `${path} is open to other users (${was}), and could not be closed: ${why}. Give it to the user that tollgate runs as (chown), or name another folder in \`data\``,
  );
}
