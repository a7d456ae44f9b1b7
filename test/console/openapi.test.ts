import { readFileSync } from "node:fs";
import { Validator } from "@seriousme/openapi-schema-validator";
import { Ajv2020 } from "ajv/dist/2020.js";
import formats from "ajv-formats";
import type { Command } from "commander";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { parse } from "yaml";
import type { Io } from "../../src/cli/io.ts";
import { buildProgram } from "../../src/cli/program.ts";
import { openApiText } from "../../src/console/describe.ts";
import { OPERATIONS } from "../../src/operations/all.ts";
import { call, pageOf } from "../contract/calls.contract.ts";
import { ApiLab, idleRelay } from "./api-lab.ts";

const text = readFileSync("ops/openapi.yaml", "utf8");

/** What only the machine itself can do. */
const REMOTELY_NOT = ["init", "start", "demo", "dev", "check-config", "doctor", "token create", "backup", "restore"];

interface Operation {
  parameters?: readonly object[];
  readonly responses: Readonly<Record<string, { readonly content?: Readonly<Record<string, { schema: object }>> }>>;
}
const document = parse(text) as {
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
  readonly components: { readonly schemas: object };
};

const session = {
  id: "s1",
  call: "c1",
  user: "alice",
  service: "wine",
  appServer: "shop",
  state: "established.steady",
};

let lab: ApiLab;
let token: string;
beforeAll(async () => {
  const relay = idleRelay({
    lockOuts: () => [{ user: "alice", source: "198.51.100.7", failures: 5, waitMs: 1_000.5 }],
    here: {
      sessions: () => [{ ...session, startedAt: 1_000, durationMs: 5 }],
      story: () => ({ items: [{ kind: "timer", at: 1, session: "s1", name: "rings", text: "rings" }], leftOut: 0 }),
      calls: async () => [
        call(1, {
          cost: "1.00 EUR",
          asked: [{ appServer: "shop", session: "s1", callId: "s1@tollgate", atMs: 5, status: 200, reason: "OK" }],
          kept: {
            messages: [[0, "client", "relay", "INVITE sip:wine@portal.example (SDP)"]],
            states: [[1, "request", "", "authenticating", "identifying"]],
          },
        }),
      ],
    },
  });
  lab = await ApiLab.create({}, relay);
  token = await lab.token("operator");
  await lab.store.calls.add(pageOf([call(1)]));
  await lab.store.appServers.put({ id: "shop", uri: "sip:127.0.0.1:5070", services: ["wine"], priority: 5 });
});
afterAll(() => lab.close());

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

  it.each([
    ["POST", "/v1/users", "/v1/users", { id: "alice", password: "x", prepaid: "EUR", balance: "20" }],
    ["GET", "/v1/users", "/v1/users"],
    ["PUT", "/v1/users/{id}/limits", "/v1/users/alice/limits", { sessions: "2" }],
    ["POST", "/v1/users/{id}/block", "/v1/users/alice/block", {}],
    ["PUT", "/v1/tariffs/{id}", "/v1/tariffs/lesson", { currency: "EUR", price: "0.50" }],
    ["PUT", "/v1/services/{id}", "/v1/services/wine", { tariff: "lesson", limits: { charge: "5", currency: "EUR" } }],
    ["GET", "/v1/services", "/v1/services"],
    ["GET", "/v1/tariffs", "/v1/tariffs"],
    ["POST", "/v1/app-servers/{id}/drain", "/v1/app-servers/shop/drain", {}],
    ["GET", "/v1/app-servers", "/v1/app-servers"],
    ["POST", "/v1/app-servers/{id}/keys", "/v1/app-servers/shop/keys", {}],
    ["GET", "/v1/app-server-keys", "/v1/app-server-keys"],
    ["POST", "/v1/credit/{user}/topup", "/v1/credit/alice/topup", { id: "p", amount: "5" }],
    ["GET", "/v1/credit/{user}", "/v1/credit/alice"],
    ["POST", "/v1/corrections", "/v1/corrections", { user: "alice", amount: "-1", currency: "EUR", reason: "broken" }],
    ["GET", "/v1/bills/{user}", "/v1/bills/alice"],
    ["GET", "/v1/settlements/{appServer}", "/v1/settlements/shop"],
    ["GET", "/v1/me", "/v1/me"],
    ["GET", "/v1/status", "/v1/status"],
    ["GET", "/v1/sessions", "/v1/sessions"],
    ["DELETE", "/v1/sessions/{id}", "/v1/sessions/s1"],
    ["GET", "/v1/nodes", "/v1/nodes"],
    ["GET", "/v1/lockouts", "/v1/lockouts"],
    ["GET", "/v1/calls", "/v1/calls"],
    ["GET", "/v1/calls/{id}", "/v1/calls/record0001"],
    ["GET", "/v1/calls/{id}/story", "/v1/calls/record0001/story"],
    ["GET", "/v1/machines", "/v1/machines"],
    ["POST", "/v1/traces", "/v1/traces", { name: "why" }],
    ["GET", "/v1/traces", "/v1/traces"],
    ["GET", "/v1/dead-letters", "/v1/dead-letters"],
    ["GET", "/v1/tokens", "/v1/tokens"],
    ["GET", "/v1/audit", "/v1/audit"],
  ])("says what %s %s answers", async (method, path, url, body?: object) => {
    const { status, json, text: said } = await lab.ask(method, url, { token, body });
    expect(status, said).toBe(200);
    const { schema } = document.paths[path]![method.toLowerCase()]!.responses["200"]!.content!["application/json"]!;
    const ajv = new Ajv2020({ strict: false });
    (formats as unknown as (ajv: Ajv2020) => void)(ajv);
    const valid = ajv.compile(schema);
    expect(valid(json), JSON.stringify(valid.errors)).toBe(true);
    expect(Object.keys((schema as { properties: object }).properties)).toEqual(
      expect.arrayContaining(Object.keys(json)),
    );
  });
});
