import { hostname, networkInterfaces } from "node:os";
import type { Config } from "../config/schema.ts";

/* What a node says of the machine that it runs on. */

/** The machine's name, for people, as a beat may carry it. */
export const ownName = (): string =>
  hostname()
    .replace(/[^\x20-\x7e]/g, "?")
    .slice(0, 100);

/** The address by which other nodes reach this one: one that it listens on, or else one that the machine has. */
export function ownAddress(listen: Config["listen"]): string {
  const own = listen.map(({ address }) => address).find((address) => address !== "0.0.0.0" && address !== "::");
  if (own !== undefined) return own;
  const all = Object.values(networkInterfaces()).flatMap((addresses) => addresses ?? []);
  return all.find(({ internal, family }) => !internal && family === "IPv4")?.address ?? "127.0.0.1";
}
