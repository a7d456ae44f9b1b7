import type { Config } from "../../config/schema.ts";

/** `ok`; `warning`: it works, but not for everybody or not for long; `problem`: it does not work. */
export type Grade = "ok" | "warning" | "problem";

/** One thing that was looked at. */
export interface Finding {
  readonly grade: Grade;
  readonly what: string;
  /** What the operator is to do. */
  readonly todo?: string;
}

/** What is asked of the world, so that tests have one of their own. */
export interface Surroundings {
  readonly config: Config;
  /** Milliseconds of the wall clock. */
  now(): number;
  /** Tries to listen there for a moment. Resolves to an error code such as EADDRINUSE; undefined: it could. */
  listens(transport: "udp" | "tcp", address: string, port: number): Promise<string | undefined>;
  /** Whether a relay runs on the data folder. */
  relayRuns(): Promise<boolean>;
  readonly dns: Dns;
  /** The output of a program; undefined: it is not here, or failed. */
  run(program: string, args: readonly string[]): Promise<string | undefined>;
  /** The text of a file; undefined: it cannot be read. */
  read(path: string): string | undefined;
  /** A file's mode and whether it is there. */
  modeOf(path: string): number | undefined;
  /** Addresses of this machine. */
  addresses(): readonly string[];
  /** Bytes that are free where that folder is or will be; undefined: not known. */
  freeBytes(path: string): number | undefined;
  /** Most bytes of the JavaScript heap. */
  readonly heapBytes: number;
  /** Asks an rtpengine whether it is there; resolves to what is wrong, or to undefined. */
  pings(place: { readonly host: string; readonly port: number }): Promise<string | undefined>;
  /** Opens and closes the bus, and the store. Rejects with what is wrong. */
  openBus(): Promise<void>;
  openStore(): Promise<{ readonly differenceMs: number | undefined }>;
}

/** As much of node:dns as is asked; each rejects with a code such as ENOTFOUND. */
export interface Dns {
  resolveNaptr(name: string): Promise<readonly { readonly service: string; readonly replacement: string }[]>;
  resolveSrv(name: string): Promise<readonly { readonly name: string; readonly port: number }[]>;
  resolve4(name: string): Promise<readonly string[]>;
  resolve6(name: string): Promise<readonly string[]>;
}

/** One row of what the doctor looks at. */
export interface Check {
  readonly id: string;
  readonly title: string;
  look(world: Surroundings): Promise<readonly Finding[]> | readonly Finding[];
}

export const ok = (what: string): Finding => ({ grade: "ok", what });
export const warning = (what: string, todo: string): Finding => ({ grade: "warning", what, todo });
export const problem = (what: string, todo: string): Finding => ({ grade: "problem", what, todo });
