import { chmodSync, readdirSync, rmSync } from "node:fs";
import { createServer, type IncomingMessage, type RequestListener, request } from "node:http";
import { connect } from "node:net";
import { join } from "node:path";
import { err, ok, type Result } from "../support/result.ts";

/*
 * How the commands of a machine's operator reach the running relay: JSON over HTTP on a Unix socket in the data
 * folder, which only the relay's own system user may open.
 */

export interface Control {
  close(): Promise<void>;
}

/** The socket's place for a data folder. */
export const controlPath = (dataFolder: string): string => join(dataFolder, "control.sock");

/**
 * The folder of a further process on a data folder (`tollgate start --processes`); the first one has the data folder.
 */
export const processFolder = (dataFolder: string, number: number): string =>
  number === 1 ? dataFolder : join(dataFolder, `${PROCESS}${number}`);

const PROCESS = "process-";

/** The sockets of all processes on a data folder, the first one's first. */
export function controlPaths(dataFolder: string): readonly [string, ...string[]] {
  let names: string[] = [];
  try {
    names = readdirSync(dataFolder).filter((name) => name.startsWith(PROCESS));
  } catch {
    // No relay has run there yet.
  }
  const numbers = names.map((name) => Number(name.slice(PROCESS.length))).sort((a, b) => a - b);
  return [controlPath(dataFolder), ...numbers.map((number) => controlPath(processFolder(dataFolder, number)))];
}

/** A Unix socket's path is at most so long (108 bytes with the closing zero on Linux, 104 on macOS). */
const PATH_BYTES = 103;
/** Connections of commands at once; only the relay's own system user can open any. */
const CONNECTIONS = 64;

/**
 * Takes requests on a Unix socket. Rejects when another process answers there already: two relays must not share a data
 * folder.
 */
export async function startControl(options: {
  readonly path: string;
  readonly listener: RequestListener;
}): Promise<Control> {
  const { path, listener } = options;
  if (Buffer.byteLength(path) > PATH_BYTES)
    throw new Error(`${path}: too long for a socket; use a data folder with a shorter path`);
  if (await answers(path)) throw new Error(`${path}: another relay runs on this data folder`);
  rmSync(path, { force: true });
  const times = { headersTimeout: 5_000, requestTimeout: 10_000, connectionsCheckingInterval: 1_000 };
  const server = createServer({ maxHeaderSize: 8192, ...times }, listener);
  server.maxConnections = CONNECTIONS;
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen({ path, exclusive: true }, () => resolve());
  });
  chmodSync(path, 0o600);
  return {
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    socket.once("connect", () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", () => resolve(false));
  });
}

/** Why there is no answer, or what the relay has against the request. */
export interface Unanswered {
  /** No relay runs there. */
  readonly absent: boolean;
  readonly message: string;
  readonly status?: number;
}

/** Asks the relay that runs on a data folder. `asBytes`: the answer is a file, and no JSON. */
export function askControl(
  path: string,
  method: string,
  url: string,
  body?: unknown,
  asBytes = false,
): Promise<Result<unknown, Unanswered>> {
  return new Promise((resolve) => {
    const failed = (error: NodeJS.ErrnoException) =>
      resolve(err({ absent: error.code === "ENOENT" || error.code === "ECONNREFUSED", message: error.message }));
    const outgoing = request(
      { socketPath: path, agent: false, method, path: url, headers: { "content-type": "application/json" } },
      (response) => {
        const chunks: Buffer[] = [];
        response.on("data", (chunk: Buffer) => chunks.push(chunk));
        response.on("error", failed);
        response.on("end", () => resolve(readAnswer(response.statusCode ?? 0, Buffer.concat(chunks), asBytes)));
      },
    );
    outgoing.on("error", failed);
    outgoing.end(body === undefined ? undefined : JSON.stringify(body));
  });
}

function readAnswer(status: number, bytes: Buffer, asBytes: boolean): Result<unknown, Unanswered> {
  if (asBytes && status === 200) return ok(bytes);
  try {
    const value = JSON.parse(bytes.toString("utf8")) as { detail?: string; title?: string } | null;
    return status === 200
      ? ok(value)
      : err({ absent: false, message: value?.detail ?? value?.title ?? `status ${status}`, status });
  } catch {
    return err({ absent: false, message: "the relay's answer is not JSON" });
  }
}

/**
 * Opens an answer that does not end. `stop` is given how to end it. Rejects with an `Unanswered` where there is none.
 */
export function openControl(
  path: string,
  url: string,
  headers: Readonly<Record<string, string>>,
  stop: (end: () => void) => void,
): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const outgoing = request({ socketPath: path, agent: false, method: "GET", path: url, headers }, (response) => {
      if (response.statusCode === 200) return resolve(response);
      response.resume();
      reject({ absent: false, message: `status ${response.statusCode}` } satisfies Unanswered);
    });
    outgoing.on("error", (error: NodeJS.ErrnoException) => {
      const absent = error.code === "ENOENT" || error.code === "ECONNREFUSED";
      reject({ absent, message: error.message } satisfies Unanswered);
    });
    stop(() => outgoing.destroy());
    outgoing.end();
  });
}
