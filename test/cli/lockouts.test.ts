import { connect } from "node:net";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { createClient } from "../../src/sdk/index.ts";
import { freePort } from "../support/peers.ts";
import { until } from "../support/until.ts";
import { Terminal } from "./terminal.ts";

let terminal: Terminal;
let port: number;
beforeEach(async () => {
  terminal = new Terminal();
  port = await freePort();
  terminal.write(
    "tollgate.yaml",
    `listen: ["tcp:127.0.0.1:${port}"]\nlog: { level: silent }\ndrainS: 0\nservices: [{ id: wine }]\nhttp: { listen: "127.0.0.1:0" }\n`,
  );
});
afterEach(() => terminal.remove());

const listening = () =>
  new Promise<boolean>((resolve) => {
    const socket = connect(port, "127.0.0.1", () => resolve(true));
    socket.once("error", () => resolve(false)).once("connect", () => socket.destroy());
  });

/** What the relay answers alice with that password: there is no app server, so the right one gets 404. */
async function answerTo(password: string): Promise<string> {
  const client = createClient({
    relay: `sip:127.0.0.1:${port};transport=tcp`,
    domain: "localhost",
    user: "alice",
    password,
  });
  const said = await client.request("wine").then(
    () => "200",
    (error: Error) => error.message,
  );
  await client.close();
  return /\d{3}/.exec(said)?.[0] ?? said;
}

describe("tollgate lockouts (M2)", () => {
  it("lists who has to wait after failed sign-ins, and lifts that", async () => {
    expect((await terminal.tollgate(["lockouts", "list"])).err).toMatch(/^tollgate: no relay runs on /);
    await terminal.tollgate(["user", "add", "alice"], { env: { TOLLGATE_PASSWORD: "secret" } });
    const relay = terminal.tollgate(["start"]);
    await until(listening);
    expect((await terminal.tollgate(["lockouts", "list"])).out).toBe("no lock-outs\n");

    for (let i = 0; i < 9; i++) await answerTo(`guess ${i}`);
    expect(await answerTo("secret")).toBe("503");
    const list = await terminal.tollgate(["lockouts", "list"]);
    expect(list.out).toMatch(/^USER +SOURCE +FAILURES +WAITS\nalice +127\.0\.0\.1 +\d+ +\d+ s\n$/);
    const json = JSON.parse((await terminal.tollgate(["lockouts", "list", "--json"])).out);
    expect(json).toMatchObject([{ user: "alice", source: "127.0.0.1" }]);

    expect(await terminal.tollgate(["lockouts", "lift", "--user", "bob"])).toMatchObject({
      code: 0,
      out: "0 lifted\n",
    });
    expect(
      await terminal.tollgate(["lockouts", "lift", "--user", "alice", "--source", "::ffff:127.0.0.1"]),
    ).toMatchObject({ code: 0, out: "1 lifted\n" });
    expect(await answerTo("secret")).toBe("404");
    terminal.signal("SIGTERM");
    expect((await relay).code).toBe(0);
  });

  it.each([["lockouts lift"], ["lockouts lift --all --user alice"]])("%s: says what is missing", async (line) => {
    const { code, err } = await terminal.tollgate(line.split(" "));
    expect(code).toBe(2);
    expect(err).toContain("say which: --user, --source or both of them, or --all");
  });
});
