import { PassThrough } from "node:stream";
import { describe, expect, it } from "vitest";
import { type Io, readPassword, table } from "../../src/cli/io.ts";

/** A terminal at which somebody types these lines, each when something was asked for. */
function typed(...answers: string[]): { io: Io; shown: () => string } {
  let raw = false;
  const setRawMode = (on: boolean) => {
    raw = on;
    return stdin;
  };
  const stdin = Object.assign(new PassThrough(), { isTTY: true, setRawMode });
  let shown = "";
  const io: Io = {
    stdin,
    out: () => {},
    err: (text) => {
      shown += text;
      // Before that the terminal itself would show what is typed.
      if (text.endsWith(": ") && !raw) throw new Error("asked before the terminal was told to show nothing");
      if (text.endsWith(": ")) setImmediate(() => stdin.write(`${answers.shift()}\r`));
    },
    env: {},
    cwd: "/",
    onSignal: () => () => {},
    onUnhandledRejection: () => () => {},
  };
  return { io, shown: () => shown };
}

describe("the password prompt", () => {
  it("asks twice and shows nothing of what is typed", async () => {
    const { io, shown } = typed("s3cret", "s3cret");
    expect(await readPassword(io, false)).toBe("s3cret");
    expect(shown()).toBe("Password: \nAgain: \n");
  });

  it("refuses two that differ", async () => {
    await expect(readPassword(typed("one", "two").io, false)).rejects.toThrow("the two passwords differ");
  });
});

describe("tables", () => {
  it("line up their columns", () => {
    expect(
      table(
        ["A", "BB", "C"],
        [
          ["aaa", "b", "c"],
          ["a", "", ""],
        ],
      ),
    ).toBe("A    BB  C\naaa  b   c\na\n");
  });

  it("show text of others without letting it move the cursor or turn the line around", () => {
    const text = table(["A", "B"], [["\u001b[2Ja", "b\u202ec\u009b1m"]]);
    expect(text).toBe("A      B\n?[2Ja  b?c?1m\n");
  });
});
