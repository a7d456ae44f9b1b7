import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { ROOT } from "./support/project.ts";

const IS_COMMENT = /^\s*(\/\/|\/?\*)/;

it("no comment is wider than 120 columns, which the formatter does not see to", () => {
  const files = ["src", "machines", "console", "portal", "ops", "test"].flatMap((folder) =>
    readdirSync(join(ROOT, folder), { recursive: true, encoding: "utf8" })
      .filter((path) => /\.(m?js|tsx?|css)$/.test(path) && !path.includes("node_modules"))
      .map((path) => join(folder, path)),
  );
  expect(files.length).toBeGreaterThan(1_000);
  const wide = files.flatMap((path) =>
    readFileSync(join(ROOT, path), "utf8")
      .split("\n")
      .flatMap((line, i) => (line.length > 120 && IS_COMMENT.test(line) ? [`${path}:${i + 1}`] : [])),
  );
  expect(wide).toEqual([]);
});
