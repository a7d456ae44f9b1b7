import { statSync } from "node:fs";

/** A text that changes whenever one of the files is written anew, comes or goes. An undefined path is no file. */
export const stamps = (paths: readonly (string | undefined)[]): string =>
  paths.map((path) => (path === undefined ? "" : stamp(path))).join(" ");

function stamp(path: string): string {
  try {
    const { mtimeMs, size, ino } = statSync(path);
    return `${mtimeMs}/${size}/${ino}`;
  } catch {
    return "none";
  }
}
