import { createRequire } from "node:module";
import type { Socket } from "node:net";
import { MongoNetworkError } from "mongodb";

/**
 * The part of the driver's connections that is used here. The driver does not export them, so package.json names one
 * exact version of it.
 */
interface Connection {
  readonly socket: Socket;
  /** Closes the connection; the pool drops it. */
  onError(error: Error): void;
  writeCommand(...args: unknown[]): Promise<void>;
}

const INTERNALS = "mongodb/lib/cmap/connection.js";
let mended = false;

/**
 * Makes a command fail if its connection closes while the command is being written. The driver (7.9.0) waits for the
 * socket's `drain` or `error`, but a closed socket emits neither. So the operation never ended, in spite of all
 * time-outs, and kept its place in the pool for good. This happens if a server goes away just before a command is sent
 * (its socket is then destroyed, and `close` comes a turn of the event loop later), or if a server hangs while a long
 * command is on its way. Throws if another version of the driver is installed.
 */
export function mendDriver(): void {
  if (mended) return;
  const { Connection } = createRequire(import.meta.url)(INTERNALS) as { Connection?: { prototype: Connection } };
  const write = Connection?.prototype.writeCommand;
  if (!write) throw new Error("the installed version of mongodb is not the one that package.json names");
  Connection.prototype.writeCommand = async function (...args) {
    const { socket } = this;
    let onClose = () => {};
    const closed = new Promise<never>((_, reject) => {
      onClose = () => {
        const error = new MongoNetworkError("the connection closed while a command was written");
        this.onError(error);
        reject(error);
      };
    });
    if (socket.destroyed) onClose();
    else socket.once("close", onClose);
    try {
      await Promise.race([closed, write.apply(this, args)]);
    } finally {
      socket.off("close", onClose);
    }
  };
  mended = true;
}
