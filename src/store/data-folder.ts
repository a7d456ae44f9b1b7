import { privateFiles, privateFolder } from "../support/private-folder.ts";

/**
 * The files in the data folder, apart from the control socket. The journal and the store look after their own folders.
 */
const FILES = ["alive", "identity-key.pem"];

/**
 * Makes the data folder, or closes an existing one to other users. Throws if that cannot be done, and says what to do.
 */
export function dataFolder(path: string): void {
  privateFolder(path);
  privateFiles(path, FILES);
}
