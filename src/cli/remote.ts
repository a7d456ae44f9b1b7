import { readFileSync } from "node:fs";
import { type IncomingMessage, request as plainRequest, type RequestOptions } from "node:http";
import { request as tlsRequest } from "node:https";
import { resolve } from "node:path";
import type { Command } from "commander";
import type { AnyOperation } from "../operations/operation.ts";
import { isLoopback } from "../support/address.ts";
import { CliError, EXIT, type Io } from "./io.ts";
import { requestFor } from "./request.ts";

const TIMEOUT_MS = 30_000;
const MOST_BYTES = 256 * 2 ** 20;

/** A relay that is asked by HTTP. */
export interface Remote {
  readonly url: string;
  ask(operation: Pick<AnyOperation, "method" | "path" | "file">, input: object): Promise<unknown>;
  /** Opens an answer that does not end. Ends the command where there is none. */
  open(
    url: string,
    headers: Readonly<Record<string, string>>,
    stop: (end: () => void) => void,
  ): Promise<IncomingMessage>;
}

/** Commands that can be done by `--remote`. */
const REMOTE = new WeakSet<Command>();

/** Marks a command as one that can be done by `--remote`. */
export function remotely(command: Command): Command {
  REMOTE.add(command);
  return command;
}

/** Options of every command. */
export function addRemoteOptions(program: Command): void {
  program
    .option(
      "--remote <url>",
      "ask the relay at that URL, such as https://portal.example:8443, in place of this machine",
    )
    .option("--token-file <file>", "with --remote: a file with the token (default: the variable TOLLGATE_TOKEN)")
    .option("--ca <file>", "with --remote: the authority that signed the relay's certificate, if no known one has")
    .hook("preAction", (_program, command) => {
      const { remote, tokenFile, ca } = command.optsWithGlobals() as Options;
      for (const [option, value] of [
        ["--token-file", tokenFile],
        ["--ca", ca],
      ] as const)
        if (remote === undefined && value !== undefined)
          throw new CliError(`${option} is of use with --remote alone: this machine is asked without it`, EXIT.usage);
      if (remote === undefined || REMOTE.has(command)) return;
      const names = [];
      for (let one: Command | null = command; one?.parent; one = one.parent) names.unshift(one.name());
      throw new CliError(
        `tollgate ${names.join(" ")} needs the machine itself: run it there, without --remote`,
        EXIT.usage,
      );
    });
}

/** Undefined: `--remote` was not given. */
export function remoteOf(io: Io, command: Command): Remote | undefined {
  const { remote, tokenFile, ca } = command.optsWithGlobals() as Options;
  if (remote === undefined) return undefined;
  return new HttpRemote(urlOf(remote), tokenOf(io, tokenFile), ca === undefined ? undefined : readText(io, "--ca", ca));
}

interface Options {
  readonly remote?: string;
  readonly tokenFile?: string;
  readonly ca?: string;
}

function urlOf(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  // Not repeated: others may read what commands say.
  if (url && url.username + url.password !== "")
    throw new CliError(
      "--remote: a name or password in the URL is no use: --token-file, or the variable TOLLGATE_TOKEN",
      EXIT.usage,
    );
  if (!url || !["http:", "https:"].includes(url.protocol) || !["", "/"].includes(url.pathname))
    throw new CliError(
      `--remote: expected a URL such as https://portal.example:8443; found "${text.replace(/[^/@]*@/g, "***@")}"`,
      EXIT.usage,
    );
  const host = url.hostname.replace(/^\[|\]$/g, "");
  if (url.protocol === "http:" && host !== "localhost" && !isLoopback(host))
    throw new CliError("--remote: expected https, since others could read the token on its way", EXIT.usage);
  return url;
}

function tokenOf(io: Io, file: string | undefined): string | undefined {
  const text = file === undefined ? io.env.TOLLGATE_TOKEN : readText(io, "--token-file", file);
  const token = text?.trim();
  if (token === undefined || token === "") return undefined;
  if (/^[\x21-\x7e]{1,400}$/.test(token)) return token;
  throw new CliError("the token has characters that no token has; make one with: tollgate token create", EXIT.usage);
}

function readText(io: Io, option: string, file: string): string {
  try {
    return readFileSync(resolve(io.cwd, file), "utf8");
  } catch (error) {
    throw new CliError(`${option}: ${(error as Error).message}`, EXIT.usage);
  }
}

class HttpRemote implements Remote {
  readonly url: string;
  private readonly base: URL;
  private readonly token: string | undefined;
  private readonly ca: string | undefined;

  constructor(base: URL, token: string | undefined, ca: string | undefined) {
    this.base = base;
    this.url = base.origin;
    this.token = token;
    this.ca = ca;
  }

  async ask(operation: Parameters<Remote["ask"]>[0], input: object): Promise<unknown> {
    const { method, url, body } = requestFor(operation, input);
    const response = await this.send(method, url, {}, body);
    const bytes = await this.whole(response);
    if (response.statusCode !== 200) throw this.refused(response.statusCode ?? 0, bytes);
    return operation.file ? bytes : this.json(bytes);
  }

  async open(
    url: string,
    headers: Readonly<Record<string, string>>,
    stop: (end: () => void) => void,
  ): Promise<IncomingMessage> {
    const response = await this.send("GET", url, headers, undefined);
    stop(() => response.destroy());
    if (response.statusCode !== 200) throw this.refused(response.statusCode ?? 0, await this.whole(response));
    return response;
  }

  private send(method: string, url: string, headers: object, body: object | undefined): Promise<IncomingMessage> {
    const { base, token, ca } = this;
    const content = body === undefined ? undefined : JSON.stringify(body);
    const options: RequestOptions & { ca?: string } = {
      method,
      headers: {
        ...headers,
        ...(token !== undefined && { authorization: `Bearer ${token}` }),
        ...(content !== undefined && { "content-type": "application/json" }),
      },
      agent: false,
      ...(ca !== undefined && { ca }),
    };
    return new Promise((resolve, reject) => {
      const where = new URL(url, base);
      const outgoing = base.protocol === "https:" ? tlsRequest(where, options) : plainRequest(where, options);
      const late = setTimeout(() => outgoing.destroy(new Error("no answer within 30 s")), TIMEOUT_MS);
      outgoing.on("response", (response) => {
        clearTimeout(late);
        resolve(response);
      });
      outgoing.on("error", (error: NodeJS.ErrnoException) => {
        clearTimeout(late);
        reject(new CliError(`the relay at ${this.url} cannot be reached: ${reasonOf(error)}`));
      });
      outgoing.end(content);
    });
  }

  private async whole(response: IncomingMessage): Promise<Buffer> {
    const chunks: Buffer[] = [];
    let bytes = 0;
    try {
      for await (const chunk of response as AsyncIterable<Buffer>) {
        bytes += chunk.length;
        if (bytes > MOST_BYTES) throw new Error("its answer is too long");
        chunks.push(chunk);
      }
    } catch (error) {
      throw new CliError(`the relay at ${this.url} does not answer: ${(error as Error).message}`);
    }
    return Buffer.concat(chunks);
  }

  private json(bytes: Buffer): unknown {
    try {
      return JSON.parse(bytes.toString("utf8"));
    } catch {
      throw new CliError(`the relay at ${this.url} does not answer in JSON: is it a Tollgate?`);
    }
  }

  private refused(status: number, bytes: Buffer): CliError {
    const { title = `status ${status}`, detail } = problemIn(bytes);
    if (status === 401)
      return new CliError(
        this.token === undefined
          ? `the relay at ${this.url} wants a token: --token-file, or the variable TOLLGATE_TOKEN; there: tollgate token create`
          : `the relay at ${this.url} refuses the token: ${detail ?? title}; there: tollgate token list`,
      );
    if (status === 403)
      return new CliError(`the token may not do this: ${detail ?? title}; there: tollgate token list`);
    if (status === 404 && detail === undefined)
      return new CliError(`the relay at ${this.url} has no such request: its version may be an older one`);
    return new CliError(detail ?? title, status === 422 ? EXIT.usage : EXIT.failure);
  }
}

function problemIn(bytes: Buffer): { readonly title?: string; readonly detail?: string } {
  try {
    return (JSON.parse(bytes.toString("utf8")) as object | null) ?? {};
  } catch {
    return {};
  }
}

/** A certificate that is not believed is the commonest reason, and says so in its own words. */
const reasonOf = ({ code, message }: NodeJS.ErrnoException): string =>
  code !== undefined && /CERT|SIGNATURE|ISSUER|ALTNAME/.test(code)
    ? `its certificate is not believed: ${message}; see: --ca`
    : code === "EPROTO" || code === "ERR_SSL_WRONG_VERSION_NUMBER"
      ? "it does not answer in TLS there: is that port one of http (http.plain)?"
      : message;
