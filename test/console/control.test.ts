import { mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { askControl, controlPath, startControl } from "../../src/console/control.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "tg-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

describe("the control socket", () => {
  it("hands requests to their handlers and answers in JSON", async () => {
    const path = controlPath(folder);
    const control = await startControl({
      path,
      handlers: {
        "GET /sessions": () => [{ id: "s1" }],
        "POST /drain": (body) => ({ given: body }),
        "GET /broken": () => {
          throw new Error("out of order");
        },
      },
    });
    try {
      expect(await askControl(path, "GET", "/sessions")).toEqual({ ok: true, value: [{ id: "s1" }] });
      expect(await askControl(path, "POST", "/drain", { ms: 5 })).toEqual({ ok: true, value: { given: { ms: 5 } } });
      expect(await askControl(path, "GET", "/other")).toEqual({
        ok: false,
        error: { absent: false, message: "no GET /other here" },
      });
      expect(await askControl(path, "GET", "/broken")).toEqual({
        ok: false,
        error: { absent: false, message: "out of order" },
      });
      const large = await askControl(path, "POST", "/drain", "x".repeat(70_000));
      expect(large).toEqual({ ok: false, error: { absent: false, message: "the body is too large" } });
      expect(statSync(path).mode & 0o777).toBe(0o600);
    } finally {
      await control.close();
    }
    expect(await askControl(path, "GET", "/sessions")).toMatchObject({ ok: false, error: { absent: true } });
  });

  it("keeps a second relay off the data folder", async () => {
    const path = controlPath(folder);
    const control = await startControl({ path, handlers: {} });
    try {
      await expect(startControl({ path, handlers: {} })).rejects.toThrow("another relay runs on this data folder");
    } finally {
      await control.close();
    }
  });

  it("takes the place of a socket that a crash left behind", async () => {
    const path = controlPath(folder);
    writeFileSync(path, "");
    const control = await startControl({ path, handlers: { "GET /sessions": () => [] } });
    expect(await askControl(path, "GET", "/sessions")).toEqual({ ok: true, value: [] });
    await control.close();
  });

  it("says that a path is too long for a socket", async () => {
    await expect(startControl({ path: `/${"x".repeat(200)}`, handlers: {} })).rejects.toThrow("shorter path");
  });
});
