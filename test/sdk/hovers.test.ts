import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { ROOT } from "../support/project.ts";

/* What an editor shows of the SDK: the doc comments of what src/sdk/index.ts exports. */

const SDK = join(ROOT, "src/sdk");
const read = (name: string) => readFileSync(join(SDK, name), "utf8");
const files = readdirSync(SDK).filter((name) => name.endsWith(".ts"));
const exported = [...read("index.ts").matchAll(/\{([^}]*)\}/g)]
  .flatMap((list) => list[1]!.split(","))
  .map((name) => name.replace(/\btype\b/, "").trim())
  .filter(Boolean);
const code = files.filter((name) => name !== "index.ts").map(read);
const documented = (text: string, at: number) => /\*\/\s*$/.test(text.slice(0, at));

/** Where it is declared, with what stands before, and what stands in its braces. */
function declaration(name: string): { text: string; at: number; members: string } {
  for (const text of code) {
    const found = new RegExp(`^export (?:async )?(?:interface|type|class|function|const) ${name}\\b`, "m").exec(text);
    if (!found) continue;
    const from = text.slice(found.index);
    return { text, at: found.index, members: /^export interface [\s\S]*?\n\}/.exec(from)?.[0] ?? "" };
  }
  throw new Error(`${name} is declared nowhere`);
}

describe("the hovers of the SDK", () => {
  it.each(exported)("%s says what it is, and each of its members", (name) => {
    const { text, at, members } = declaration(name);
    expect(documented(text, at), name).toBe(true);
    const silent = [...members.matchAll(/^ {2}(?:readonly )?(\w+)\??[(:]/gm)].filter(
      (member) => !documented(members, member.index),
    );
    expect(silent.map((member) => `${name}.${member[1]}`)).toEqual([]);
  });

  it("name no ids of requirements: those are for who changes Tollgate", () => {
    expect(exported.length).toBeGreaterThan(30);
    const named = files.flatMap((name) =>
      [...read(name).matchAll(/\/\*\*[\s\S]*?\*\//g)].flatMap((comment) =>
        [...comment[0].matchAll(/\b[MP]\d{1,2}\b/g)].map((id) => `${name}: ${id[0]}`),
      ),
    );
    expect(named).toEqual([]);
  });
});
