import { readFileSync } from "node:fs";
import { gzipSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import { expectBuilt } from "../support/project.ts";

describe("tollgate/client as one file for pages", () => {
  it("has at most 48 kB compressed, and nothing that only Node has", () => {
    expectBuilt();
    const text = readFileSync(new URL("../../dist/client/tollgate-client.js", import.meta.url), "utf8");
    expect(gzipSync(text, { level: 9 }).length).toBeLessThan(48_000);
    expect(text).not.toMatch(/\bBuffer\.|\bprocess\.|\brequire\(|"node:|setImmediate/);
    expect(text).toMatch(/export\{.*createClient/);
  });
});
