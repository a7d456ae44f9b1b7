import { readFileSync } from "node:fs";
import { Validator } from "@seriousme/openapi-schema-validator";
import type { Command } from "commander";
import { describe, expect, it } from "vitest";
import { parse } from "yaml";
import type { Io } from "../../src/cli/io.ts";
import { buildProgram } from "../../src/cli/program.ts";
import { openApiText } from "../../src/console/describe.ts";
import { OPERATIONS } from "../../src/operations/all.ts";

const text = readFileSync("ops/openapi.yaml", "utf8");

/** What only the machine itself can do. */
const REMOTELY_NOT = ["init", "start", "demo", "dev", "check-config", "doctor", "token create", "backup", "restore"];

interface Operation {
  parameters?: readonly object[];
}
const document = parse(text) as {
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
};

describe("the document of the API", () => {
  it("has the operations as they are: `npm run api` writes them", () => {
    expect(openApiText(text)).toBe(text);
  });

  it("is a document as OpenAPI 3.1 has it, by a checker of others", async () => {
    const validator = new Validator();
    const { valid, errors } = await validator.validate(parse(text));
    expect(errors ?? []).toEqual([]);
    expect(valid).toBe(true);
    expect(validator.version).toBe("3.1");
    // The checker checks: parameters are a list.
    const broken = structuredClone(parse(text)) as typeof document;
    broken.paths["/v1/me"]!.get!.parameters = "none" as never;
    expect((await new Validator().validate(broken)).valid).toBe(false);
  });

  it("stands beside every command in a table of the guide: what asks for it, or that it is about the machine itself", () => {
    const program = buildProgram({} as Io, () => {});
    const leaves = (command: Command, names: readonly string[]): string[] =>
      command.commands.length === 0
        ? [names.join(" ")]
        : command.commands.flatMap((one) => leaves(one, [...names, one.name()]));
    const guide = readFileSync("ops/guide/api.md", "utf8")
      .replace(/^[\s\S]*\n## Every command\n/, "")
      .replace(/\n## [\s\S]*/, "");
    const rows = [...guide.matchAll(/^\| `tollgate ([a-z -]+)` \| (.+) \|$/gm)];
    expect(rows.map(([, name]) => name)).toEqual(leaves(program, []));
    const ids = OPERATIONS.map(({ id }) => id);
    const named = new Set(Array.from(guide.matchAll(/`([a-z]+[A-Z]\w*)`/g), ([, id]) => id!));
    expect([...named].filter((id) => id !== "operationId").sort()).toEqual(ids.sort());
    for (const [, name, way] of rows)
      if (way!.startsWith("not")) expect(REMOTELY_NOT).toContain(name);
      else expect(way).toMatch(/^`\w/);
  });

  it("names each operation once, and each name in a path", () => {
    const ids = Object.values(document.paths).flatMap((methods) =>
      Object.values(methods).map((one) => (one as unknown as { operationId: string }).operationId),
    );
    expect(new Set(ids).size).toBe(ids.length);
    for (const [path, methods] of Object.entries(document.paths))
      for (const one of Object.values(methods) as unknown as { parameters?: { name?: string; in?: string }[] }[]) {
        const named = (one.parameters ?? []).filter((parameter) => parameter.in === "path").map(({ name }) => name);
        if (named.length > 0)
          expect(named.sort()).toEqual(Array.from(path.matchAll(/\{(\w+)\}/g), ([, name]) => name).sort());
      }
  });
});
