import type { Logger, Say } from "../support/log.ts";

const nothing: Say = () => {};

/** What logs where no logger was given: errors on standard error, with the whole error where there is one. */
export const printLog: Logger = {
  trace: nothing,
  debug: nothing,
  info: nothing,
  warn: nothing,
  error: print,
  child: () => printLog,
  isLevelEnabled: (level) => level === "error",
};

function print(facts: object | string, text?: string): void {
  if (typeof facts === "string") {
    console.error(`tollgate/sdk: ${facts}`);
    return;
  }
  const { err, ...rest } = facts as { readonly err?: unknown };
  const said = Object.entries(rest).map(([name, value]) => `${name} ${String(value)}`);
  console.error(
    `tollgate/sdk: ${text}${said.length > 0 ? ` (${said.join(", ")})` : ""}`,
    ...(err === undefined ? [] : [err]),
  );
}
