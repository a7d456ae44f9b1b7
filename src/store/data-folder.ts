import { privateFiles, privateFolder } from "../support/private-folder.ts";

/**
 * What lies in it beside the folders of the journal and the store, which look after themselves, and the control socket.
 */
const FILES = ["alive", "identity-key.pem"];

/**
 * Makes the data folder, or closes the one that there is to other users. Throws with what to do where that cannot be.
 */
export function dataFolder(path: string): void {
  privateFolder(path);
  privateFiles(path, FILES);
}
