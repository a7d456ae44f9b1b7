import { type Bencoded, decode, encode } from "../../src/media/bencode.ts";
import type { OpenNgSocket } from "../../src/media/ng-socket.ts";

/** A command as an rtpengine got it. */
export type Command = Readonly<Record<string, unknown>>;

/**
 * Stands for rtpengines, by their ports. Each answers on the next turn: a description comes back with its own address
 * and a count in it, so that a test sees which way it went and how often.
 */
export class FakeRtpengines {
  /** What came, repetitions included, with the port it came to. */
  readonly datagrams: { readonly port: number; readonly cookie: string }[] = [];
  readonly commands: (Command & { readonly port: number })[] = [];
  /** Ports that answer nothing. */
  readonly silent = new Set<number>();
  /** Says no to these commands. */
  refuses: string | undefined;
  /** What it says in place of `ok` where it takes no new calls. */
  full = new Set<number>();
  private readonly done = new Map<string, Buffer>();

  readonly open: OpenNgSocket = ({ port }, received) => ({
    send: (bytes) => {
      const space = bytes.indexOf(" ");
      const cookie = bytes.toString("latin1", 0, space);
      this.datagrams.push({ port, cookie });
      if (this.silent.has(port)) return;
      let answer = this.done.get(cookie); // carried out once
      if (!answer) {
        const read = decode(bytes.subarray(space + 1));
        if (!read.ok) throw new Error(read.error);
        answer = encode(this.carryOut(port, plain(read.value) as Command));
        this.done.set(cookie, answer);
      }
      const datagram = Buffer.concat([Buffer.from(`${cookie} `), answer]);
      queueMicrotask(() => received(datagram));
    },
    close() {},
  });

  /** `offer client`, `answer server`, `delete` of each command: what came from whom. */
  get story(): string[] {
    return this.commands
      .filter(({ command }) => command !== "ping")
      .map((one) => {
        if (one.command === "delete") return "delete";
        return `${one.command} ${one.command === "offer" ? one["from-tag"] : one["to-tag"]}`;
      });
  }

  private carryOut(port: number, command: Command): Record<string, string> {
    if (command.command === "ping") return { result: "pong" };
    if (this.full.has(port)) return { result: "load limit" };
    if (this.refuses === command.command) return { result: "error", "error-reason": "no such thing" };
    this.commands.push({ ...command, port });
    if (command.sdp === undefined) return { result: "ok" };
    return { result: "ok", sdp: `${command.sdp}a=by:${port}\r\n` };
  }
}

function plain(value: Bencoded): unknown {
  if (Buffer.isBuffer(value)) return value.toString();
  if (typeof value === "number") return value;
  if (value instanceof Map) return Object.fromEntries([...value].map(([key, one]) => [key, plain(one)]));
  return (value as readonly Bencoded[]).map(plain);
}
