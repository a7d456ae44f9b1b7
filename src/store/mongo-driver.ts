import { createRequire } from "node:module";
import type { Socket } from "node:net";
import { MongoNetworkError } from "mongodb";

/**
 * What is used here of the driver's connections. It does not export them: so package.json names one version of the
 * driver.
 */
interface Connection {
  readonly socket: Socket;
  /** Closes the connection; the pool lets go of it. */
  onError(error: Error): void;
  writeCommand(...args: unknown[]): Promise<void>;
}

const INTERNALS = "mongodb/lib/cmap/connection.js";
let mended = false;

/**
 * Makes a command fail whose connection closes while it is being written. The driver (7.9.0) waits for the socket's
 * `drain` or `error`, and a closed socket tells neither: the operation never ended, whatever the time-outs, and held
 * its place in the pool for good. It takes a server that goes away just before a command is sent (its socket is
 * destroyed then, and the `close` comes a turn of the event loop later), or one that hangs while a long command is on
 * its way. Throws where this is another driver.
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
