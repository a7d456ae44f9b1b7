import { createSocket, type Socket } from "node:dgram";

/** A UDP path that loses packets. */
export interface LossyNetwork {
  /** What is sent here comes out at the far end, and what that answers comes back, unless it gets lost. */
  readonly port: number;
  readonly passed: number;
  readonly lost: number;
  close(): void;
}

export interface LossyOptions {
  /** The far end, on 127.0.0.1. */
  readonly to: number;
  /** Of the packets in each direction. */
  readonly lostPercent: number;
  /** The same seed loses the same ones out of the same row of packets. */
  readonly seed: number;
}

export async function startLossyNetwork({ to, lostPercent, seed }: LossyOptions): Promise<LossyNetwork> {
  const near = createSocket("udp4");
  /** By the sender's port: a socket of its own for each, so that answers find their way back. */
  const far = new Map<number, Socket>();
  const chance = mulberry32(seed);
  const count = { passed: 0, lost: 0 };
  const pass = (from: Socket, packet: Buffer, port: number) => {
    if (chance() * 100 < lostPercent) {
      count.lost++;
      return;
    }
    count.passed++;
    from.send(packet, port, "127.0.0.1");
  };
  near.on("message", (packet, { port }) => {
    let socket = far.get(port);
    if (!socket) {
      socket = createSocket("udp4");
      socket.on("message", (answer) => pass(near, answer, port));
      socket.on("error", () => {}); // Nobody listens at the far end any more.
      far.set(port, socket);
    }
    pass(socket, packet, to);
  });
  near.on("error", () => {});
  await new Promise<void>((resolve) => near.bind(0, "127.0.0.1", resolve));
  return {
    port: near.address().port,
    get passed() {
      return count.passed;
    },
    get lost() {
      return count.lost;
    },
    close() {
      for (const socket of [near, ...far.values()]) socket.close();
    },
  };
}

/** Numbers from 0 to 1 that depend on the seed alone. */
function mulberry32(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
