import { chmodSync, rmSync } from "node:fs";
import { createServer, type RequestListener, request } from "node:http";
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
    server.listen(path, () => resolve());
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

/** Asks the relay that runs on a data folder. The error `absent` says that no relay runs there. */
export function askControl(
  path: string,
  method: string,
  url: string,
  body?: unknown,
): Promise<Result<unknown, { absent: boolean; message: string }>> {
  return new Promise((resolve) => {
    const failed = (error: NodeJS.ErrnoException) =>
      resolve(err({ absent: error.code === "ENOENT" || error.code === "ECONNREFUSED", message: error.message }));
    const outgoing = request(
      { socketPath: path, agent: false, method, path: url, headers: { "content-type": "application/json" } },
      (response) => {
        const chunks: Buffer[] = [];
        response.on("data", (chunk: Buffer) => chunks.push(chunk));
        response.on("error", failed);
        response.on("end", () => resolve(readAnswer(response.statusCode ?? 0, Buffer.concat(chunks).toString("utf8"))));
      },
    );
    outgoing.on("error", failed);
    outgoing.end(body === undefined ? undefined : JSON.stringify(body));
  });
}

function readAnswer(status: number, text: string): Result<unknown, { absent: boolean; message: string }> {
  try {
    const value = JSON.parse(text) as { detail?: string; title?: string } | null;
    return status === 200
      ? ok(value)
      : err({ absent: false, message: value?.detail ?? value?.title ?? `status ${status}` });
  } catch {
    return err({ absent: false, message: "the relay's answer is not JSON" });
  }
}

type Ended = Result<void, { absent: boolean; message: string }>;

/**
 * Reads lines that a relay sends as things happen, until it ends them. `stops` is given a function that ends the
 * reading, and returns what to do afterwards.
 */
export function watchControl(
  path: string,
  url: string,
  stops: (stop: () => void) => () => void,
): (heard: (line: string) => void) => Promise<Ended> {
  return (heard) =>
    new Promise((resolve) => {
      let done = () => {};
      let isStopped = false;
      const end = (how: Ended) => {
        done();
        resolve(how);
      };
      const failed = (error: NodeJS.ErrnoException) => {
        if (isStopped) return end(ok(undefined));
        const absent = error.code === "ENOENT" || error.code === "ECONNREFUSED";
        end(err({ absent, message: error.message }));
      };
      const outgoing = request({ socketPath: path, agent: false, method: "GET", path: url }, (response) => {
        let text = "";
        response.setEncoding("utf8");
        response.on("data", (piece: string) => {
          const lines = (text + piece).split("\n");
          text = lines.pop()!;
          if (response.statusCode === 200) for (const line of lines) if (line !== "") heard(line);
        });
        response.on("error", () => end(ok(undefined)));
        response.on("end", () =>
          end(
            response.statusCode === 200
              ? ok(undefined)
              : err({ absent: false, message: `status ${response.statusCode}` }),
          ),
        );
      });
      outgoing.on("error", failed);
      outgoing.end();
      done = stops(() => {
        isStopped = true;
        outgoing.destroy();
        end(ok(undefined));
      });
    });
}
