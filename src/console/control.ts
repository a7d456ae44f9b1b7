import { chmodSync, rmSync } from "node:fs";
import { createServer, type IncomingMessage, request, type ServerResponse } from "node:http";
import { connect } from "node:net";
import { join } from "node:path";
import { err, ok, type Result } from "../support/result.ts";

/*
 * How the commands of a machine's operator reach the running relay: JSON over HTTP on a Unix socket in the data
 * folder, which only the relay's own system user may open.
 */

/** Answers one request; what it returns is sent as JSON. `body` is what the request's JSON body says, or undefined. */
export type ControlHandler = (body: unknown) => unknown | Promise<unknown>;

export interface Control {
  close(): Promise<void>;
}

/** The socket's place for a data folder. */
export const controlPath = (dataFolder: string): string => join(dataFolder, "control.sock");

/** A Unix socket's path is at most so long (108 bytes with the closing zero on Linux, 104 on macOS). */
const PATH_BYTES = 103;
const BODY_BYTES = 65_536;
/** Commands at once; only the relay's own system user has any. */
const CONNECTIONS = 64;

/**
 * Serves `handlers` (by `"GET /sessions"`, `"POST /drain"`) on a Unix socket. Rejects when another process answers
 * there already: two relays must not share a data folder.
 */
export async function startControl(options: {
  readonly path: string;
  readonly handlers: Readonly<Record<string, ControlHandler>>;
}): Promise<Control> {
  const { path, handlers } = options;
  if (Buffer.byteLength(path) > PATH_BYTES)
    throw new Error(`${path}: too long for a socket; use a data folder with a shorter path`);
  if (await answers(path)) throw new Error(`${path}: another relay runs on this data folder`);
  rmSync(path, { force: true });
  const times = { headersTimeout: 5_000, requestTimeout: 10_000, connectionsCheckingInterval: 1_000 };
  const server = createServer({ maxHeaderSize: 8192, ...times }, (message, response) => {
    void handle(message, response, handlers);
  });
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

async function handle(
  message: IncomingMessage,
  response: ServerResponse,
  handlers: Readonly<Record<string, ControlHandler>>,
): Promise<void> {
  const answer = (status: number, value: unknown) => {
    response.writeHead(status, { "content-type": "application/json" }).end(`${JSON.stringify(value ?? null)}\n`);
  };
  try {
    const key = `${message.method} ${message.url}`;
    const handler = Object.hasOwn(handlers, key) ? handlers[key] : undefined;
    if (handler === undefined) return answer(404, { error: `no ${key} here` });
    const body = await readBody(message);
    if (!body.ok) return answer(400, { error: body.error });
    answer(200, await handler(body.value));
  } catch (error) {
    answer(500, { error: (error as Error).message });
  }
}

async function readBody(message: IncomingMessage): Promise<Result<unknown, string>> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of message as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > BODY_BYTES) return err("the body is too large");
    chunks.push(chunk);
  }
  if (bytes === 0) return ok(undefined);
  try {
    return ok(JSON.parse(Buffer.concat(chunks).toString("utf8")));
  } catch {
    return err("the body is not JSON");
  }
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

/** Asks the relay that runs on a data folder. The error `absent` says that none does. */
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
    const value = JSON.parse(text) as { error?: string } | null;
    return status === 200 ? ok(value) : err({ absent: false, message: value?.error ?? `status ${status}` });
  } catch {
    return err({ absent: false, message: "the relay's answer is not JSON" });
  }
}
