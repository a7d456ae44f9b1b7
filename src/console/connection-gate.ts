import type { Socket } from "node:net";
import type { Clock } from "../support/clock.ts";
import { sourceKey } from "../support/source.ts";

export interface ConnectionGateOptions {
  readonly clock: Pick<Clock, "monotonic">;
  /** How many connections there may be, in all and from one source. */
  readonly max: number;
  readonly perSource: number;
  /** The proxies: their connections carry the requests of many others. */
  readonly exempt: (address: string) => boolean;
  readonly refused: (address: string, why: string) => void;
}

interface Held {
  readonly socket: Socket;
  readonly source: string;
  readonly since: number;
  /** Whether a whole request has come by it. */
  served: boolean;
}

/** A connection that has brought no request for so long gives way when there is no room. */
const GIVES_WAY_MS = 2_000;

/** Lets connections in. No source can take them all, and a connection that brings nothing gives way to a new one. */
export class ConnectionGate {
  private readonly options: ConnectionGateOptions;
  /** In the order in which they came. */
  private readonly held = new Map<string, Held>();
  private readonly sources = new Map<string, number>();

  constructor(options: ConnectionGateOptions) {
    this.options = options;
  }

  get size(): number {
    return this.held.size;
  }

  /** Takes a new connection, or ends it if there is no room. */
  take(socket: Socket): void {
    const { clock, max, perSource, exempt, refused } = this.options;
    const { remoteAddress = "", remotePort = 0 } = socket;
    const source = exempt(remoteAddress) ? "" : sourceKey(remoteAddress);
    const count = this.sources.get(source) ?? 0;
    const why =
      source !== "" && count >= perSource
        ? "its address has as many connections as it may"
        : this.held.size >= max && !this.makeRoom()
          ? "there are as many connections as there may be"
          : undefined;
    if (why !== undefined) {
      refused(remoteAddress, why);
      socket.destroy();
      return;
    }
    const key = `${remoteAddress}|${remotePort}`;
    this.sources.set(source, (this.sources.get(source) ?? 0) + 1);
    this.held.set(key, { socket, source, since: clock.monotonic(), served: false });
    socket.once("close", () => this.drop(key, socket));
  }

  /** Notes that a whole request came by that connection. */
  served(socket: Pick<Socket, "remoteAddress" | "remotePort">): void {
    const held = this.held.get(`${socket.remoteAddress ?? ""}|${socket.remotePort ?? 0}`);
    if (held) held.served = true;
  }

  private drop(key: string, socket: Socket): void {
    const held = this.held.get(key);
    if (held?.socket !== socket) return;
    this.held.delete(key);
    const left = (this.sources.get(held.source) ?? 1) - 1;
    if (left > 0) this.sources.set(held.source, left);
    else this.sources.delete(held.source);
  }

  private makeRoom(): boolean {
    const { clock, refused } = this.options;
    const latest = clock.monotonic() - GIVES_WAY_MS;
    for (const [key, { socket, since, served }] of this.held) {
      if (since > latest) return false;
      if (served) continue;
      refused(socket.remoteAddress ?? "", "it brought no request, and others wait");
      socket.destroy();
      this.drop(key, socket);
      return true;
    }
    return false;
  }
}
