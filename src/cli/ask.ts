import { existsSync } from "node:fs";
import { userInfo } from "node:os";
import type { Command } from "commander";
import type { Config } from "../config/schema.ts";
import { askControl, controlPaths, type Unanswered } from "../console/control.ts";
import type { OperationContext } from "../operations/context.ts";
import { OperationError } from "../operations/mistake.ts";
import type { AnyOperation, Operation } from "../operations/operation.ts";
import { Audit, perform } from "../operations/perform.ts";
import { systemClock } from "../support/clock.ts";
import { type LoadedConfig, readConfig, withStore } from "./context.ts";
import { CliError, EXIT, type Io } from "./io.ts";
import { remoteOf } from "./remote.ts";
import { requestFor } from "./request.ts";

/**
 * Does an operation for a command: on this machine, or by HTTP at the relay that `--remote` names. Ends the command
 * with what is wrong.
 */
export async function ask<In, Out>(
  io: Io,
  command: Command,
  operation: Operation<In, Out>,
  input: object,
): Promise<Out> {
  const remote = remoteOf(io, command);
  if (remote) return (await remote.ask(operation, input)) as Out;
  const loaded = readConfig(io, command.optsWithGlobals().config);
  const { config } = loaded;
  if (operation.live) {
    const { method, url, body } = requestFor(operation, input);
    const answer = await askFirst(config.data, method, url, body, operation.file);
    if (answer.ok) return answer.value as Out;
    if (!answer.error.absent || operation.live !== "if-there") throw notAnswered(config, answer.error);
  }
  if (operation.method === "GET") sayIfNothing(io, config);
  return onStore(command, loaded, async (context) => (await perform(operation, context, input, auditOf(io))) as Out);
}

/** Who looks in the wrong folder would take an empty answer for the truth. */
function sayIfNothing(io: Io, { data, store }: Config): void {
  if (store === undefined && !existsSync(data))
    io.err(`there was no data folder ${data}: if a relay has another one, name its configuration with --config\n`);
}

/** Asks the first process on a data folder that is up: each answers for all of the cluster. */
async function askFirst(data: string, ...what: Asking): ReturnType<typeof askControl> {
  const [first, ...others] = controlPaths(data);
  let answer = await askControl(first, ...what);
  for (const path of others) {
    if (answer.ok || !answer.error.absent) break;
    answer = await askControl(path, ...what);
  }
  return answer;
}

type Asking = Parameters<typeof askControl> extends [string, ...infer Rest] ? Rest : never;

/**
 * What each relay answers that runs on this machine's data folder, or the one that `--remote` names. One that was asked
 * to stop may be gone before it has answered: that is no fault.
 */
export async function askEach<In, Out>(
  io: Io,
  command: Command,
  operation: Operation<In, Out>,
  input: object,
): Promise<Out[]> {
  const remote = remoteOf(io, command);
  if (remote) return [(await remote.ask(operation, input)) as Out];
  const { config } = readConfig(io, command.optsWithGlobals().config);
  const { method, url, body } = requestFor(operation, input);
  const answers = await Promise.all(controlPaths(config.data).map((path) => askControl(path, method, url, body)));
  const failed = answers.flatMap((answer) => (answer.ok ? [] : [answer.error]));
  const isNobody = failed.length === answers.length && failed.every(({ absent }) => absent);
  const fault = isNobody ? failed[0] : failed.find(({ status }) => status !== undefined);
  if (fault) throw notAnswered(config, fault);
  return answers.flatMap((answer) => (answer.ok ? [answer.value as Out] : []));
}

/**
 * Works on this machine's store, and ends the command with what is wrong. `use` does the operation in a way of its own,
 * such as piece by piece; the audit log has it all the same.
 */
export async function locally<T>(
  io: Io,
  command: Command,
  operation: AnyOperation,
  input: object,
  use: (context: OperationContext) => Promise<T>,
): Promise<T> {
  return onStore(command, readConfig(io, command.optsWithGlobals().config), async (context) => {
    const done = await use(context);
    await auditOf(io).note(operation, context, input, "done");
    return done;
  });
}

async function onStore<T>(
  command: Command,
  { config, name: configName }: LoadedConfig,
  use: (context: OperationContext) => Promise<T>,
): Promise<T> {
  const caller = { name: userName(), role: "owner", from: "command" } as const;
  return withStore(config, async (store) => {
    const context = { config, configName, store, relay: undefined, caller, now: () => Date.now() };
    try {
      return await use(context);
    } catch (error) {
      throw error instanceof OperationError ? asCliError(error, command) : error;
    }
  });
}

const auditOf = (io: Io): Audit =>
  new Audit(
    () => systemClock.monotonic(),
    (error) => io.err(`the audit log cannot be written: ${(error as Error).message}\n`),
  );

function userName(): string {
  try {
    return userInfo().username;
  } catch {
    return "owner"; // a user without a name
  }
}

/** A mistake as it is said at the command line: with the name of the option or argument, and with what to do. */
export function asCliError(error: OperationError, command?: Command): CliError {
  const { field, message, hint } = error;
  const text = `${field === undefined ? "" : nameOf(field, command)}${message}${hint === undefined ? "" : `; ${hint}`}`;
  return new CliError(text, error.mistake === "usage" ? EXIT.usage : EXIT.failure);
}

/** What is imported is named by its file, which whoever typed the command knows. */
function nameOf(field: string, command: Command | undefined): string {
  if (field === "csv") return "";
  const isArgument = command?.registeredArguments.some((argument) => argument.name() === field) ?? false;
  return isArgument ? `${field}: ` : `--${optionName(field)}: `;
}

/** `expiresDays` is `--expires-days`. */
export const optionName = (field: string): string => field.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);

/** Why the relay on this machine has not answered. */
export function notAnswered({ data }: Config, { absent, message, status }: Unanswered): CliError {
  if (absent)
    return new CliError(
      `no relay runs on ${data}: start one with tollgate start, or name its configuration with --config`,
    );
  if (status === 404 || status === 409) return new CliError(message);
  if (status === 422) return new CliError(message, EXIT.usage);
  return new CliError(`the relay on ${data} does not answer: ${message}`);
}
