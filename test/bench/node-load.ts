import { type ChildProcess, fork } from "node:child_process";
import { join } from "node:path";
import type { Called, CallingOptions, Counters, Load } from "./load.ts";

/* Load from two processes of our own (node-peer.ts), where SIPp is not installed. They cost more than SIPp's. */

const NONE: Counters = { current: 0, successful: 0, failed: 0, retransmissions: 0 };

/** What a peer says to its parent. */
export type Said = { readonly ready: true } | { readonly counters: Counters } | { readonly done: Called };

const children = new Set<ChildProcess>();
process.once("exit", () => {
  for (const child of children) child.kill();
});

export async function nodeLoad(): Promise<Load> {
  return {
    name: "a generator of our own (SIPp is not installed or not wanted)",
    async answering(port, challenging) {
      const { child, state } = await peer(["answering", String(port), String(challenging)]);
      return {
        pid: child.pid!,
        counters: () => state.counters,
        stop: () =>
          new Promise((resolve) => {
            child.once("exit", () => resolve());
            child.kill();
          }),
      };
    },
    async calling(options: CallingOptions) {
      const { child, state, done } = await peer(["calling", JSON.stringify(options)]);
      return { pid: child.pid!, counters: () => state.counters, done };
    },
  };
}

async function peer(
  args: readonly string[],
): Promise<{ child: ChildProcess; state: { counters: Counters }; done: Promise<Called> }> {
  const child = fork(join(import.meta.dirname, "node-peer.js"), args);
  children.add(child);
  child.once("exit", () => children.delete(child));
  const state = { counters: NONE };
  let ready!: () => void;
  const readied = new Promise<void>((resolve) => {
    ready = resolve;
  });
  const done = new Promise<Called>((resolve, reject) => {
    child.on("message", (said: Said) => {
      if ("ready" in said) ready();
      else if ("counters" in said) state.counters = said.counters;
      else resolve(said.done);
    });
    child.once("exit", (code) => (code === 0 ? undefined : reject(new Error(`${args[0]} side ended with ${code}`))));
  });
  done.catch(() => {}); // The answering side is never done; it ends by a signal.
  await Promise.race([readied, done]);
  return { child, state, done };
}
