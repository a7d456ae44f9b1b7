import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { Terminal } from "./terminal.ts";

let terminal: Terminal;
beforeEach(() => {
  terminal = new Terminal();
});
afterEach(() => terminal.remove());

const tollgate = (line: string) => terminal.tollgate(line.split(" "));

describe("tollgate appserver key (M15, M17)", () => {
  it("makes keys, lists and removes them", async () => {
    await tollgate("appserver add shop --uri sip:10.0.0.5 --service wine --force");
    const first = JSON.parse((await tollgate("appserver key add shop --json")).out) as Record<string, string>;
    expect(first.bearer).toBe(`${first.key}.${first.secret}`);
    expect(first.secret).toMatch(/^[0-9a-f]{64}$/);
    const second = await tollgate("appserver key add shop");
    expect(second.out).toMatch(/Authorization: Bearer [0-9a-f]{16}\.[0-9a-f]{64}\n/);
    const listed = JSON.parse((await tollgate("appserver key list --json")).out) as { key: string }[];
    expect(listed).toHaveLength(2);
    expect(listed.map(({ key }) => key)).toContain(first.key);
    expect((await tollgate(`appserver key remove ${first.key}`)).out).toBe(`key ${first.key} removed\n`);
    expect((await tollgate("appserver key list")).out).not.toContain(first.key);
    expect((await tollgate(`appserver key remove ${first.key}`)).code).toBe(1);
  });

  it("makes none for an app server that nobody registered", async () => {
    expect(await tollgate("appserver key add shop")).toMatchObject({
      code: 1,
      err: "tollgate: no app server shop; see: tollgate appserver list\n",
    });
  });

  it("keeps no secret", async () => {
    await tollgate("appserver add shop --uri sip:10.0.0.5 --service wine --force");
    const { secret } = JSON.parse((await tollgate("appserver key add shop --json")).out) as { secret: string };
    const store = join(terminal.folder, "data", "store");
    for (const file of readdirSync(store)) expect(readFileSync(join(store, file)).includes(secret)).toBe(false);
  });
});
