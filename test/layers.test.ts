import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, describe, expect, it } from "vitest";
import { LAYERS } from "../layers.mjs";

const root = fileURLToPath(new URL("..", import.meta.url));
const cruiser = join(root, "node_modules/dependency-cruiser/bin/dependency-cruise.mjs");

let folder: string | undefined;
afterEach(() => folder && rmSync(folder, { recursive: true, force: true }));

/** What the check of the layers says of a tree of those files. */
function check(files: Readonly<Record<string, string>>): string {
  folder = mkdtempSync(join(tmpdir(), "tollgate-layers-"));
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    writeFileSync(join(folder, path), text);
  }
  const args = [cruiser, "--config", join(root, ".dependency-cruiser.mjs"), "src"];
  try {
    return execFileSync(process.execPath, args, { cwd: folder, encoding: "utf8" });
  } catch (error) {
    return (error as { stdout: string }).stdout;
  }
}

const VALUE = "export const value = 1;\nexport interface Type { readonly value: number }\n";

describe("the layers (layers.mjs)", () => {
  it("go red where a file imports from above", () => {
    const said = check({
      "src/relay/model/core.ts": 'import { value } from "../session/session.ts";\nexport const other = value;\n',
      "src/relay/session/session.ts": VALUE,
    });
    expect(said).toContain("src/relay/model/core.ts → src/relay/session/session.ts");
  });

  it("go red where it is only a type", () => {
    const said = check({
      "src/sip/uri.ts":
        'import type { Type } from "../transport/types.ts";\nexport const read = (of: Type) => of.value;\n',
      "src/transport/types.ts": VALUE,
    });
    expect(said).toContain("src/sip/uri.ts → src/transport/types.ts");
  });

  it("go red where files of one room import each other, also where these are only types", () => {
    const said = check({
      "src/sip/a.ts": `import type { Type } from "./b.ts";\nexport const a = (of: Type) => of.value;\n`,
      "src/sip/b.ts": `import { a } from "./a.ts";\nexport interface Type { readonly value: number }\nexport const b = a;\n`,
    });
    expect(said).toContain("no circle");
  });

  it("go red where a folder has no place in the picture", () => {
    const said = check({
      "src/attic/a.ts": 'import { value } from "./b.ts";\nexport const a = value;\n',
      "src/attic/b.ts": VALUE,
    });
    expect(said).toContain("each file has its place");
  });

  it("let a file import from below", () => {
    const said = check({
      "src/transport/types.ts": 'import { value } from "../sip/uri.ts";\nexport const other = value;\n',
      "src/sip/uri.ts": VALUE,
    });
    expect(said).toContain("no dependency violations found");
  });

  it("name each folder of src, and nothing that is not there", () => {
    const rooms = LAYERS.flat();
    for (const room of rooms) expect(statSync(join(root, room)).size).toBeGreaterThan(0);
    for (const name of readdirSync(join(root, "src")).filter((one) => !one.includes(".")))
      expect(rooms.some((room) => room === `src/${name}` || room.startsWith(`src/${name}/`))).toBe(true);
  });
});
