import { spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { dirname, join, normalize } from "node:path";
import { expect, it } from "vitest";
import { COMMAND, expectBuilt, ROOT } from "../support/project.ts";
import { itUnless } from "../support/unless.ts";

it("the package has what README.md leads to, and the sources that the types lead to", { timeout: 60_000 }, () => {
  expectBuilt();
  const packed = spawnSync("npm", ["pack", "--dry-run", "--ignore-scripts", "--json"], { cwd: ROOT, encoding: "utf8" });
  expect(packed.stderr).toBe("");
  const files = (JSON.parse(packed.stdout) as { files: { path: string }[] }[])[0]!.files.map(({ path }) => path);
  const there = (path: string) => files.some((file) => file === path || file.startsWith(`${path}/`));
  const links = [...readFileSync(join(ROOT, "README.md"), "utf8").matchAll(/\]\((?!https?:)([^)#]+)/g)].map((link) =>
    normalize(link[1]!),
  );
  expect(links.length).toBeGreaterThan(10);
  expect(links.filter((link) => !there(link))).toEqual([]);
  const types = files.filter((file) => file.endsWith(".d.ts") && file.startsWith("dist/"));
  for (const file of types) {
    const { sources } = JSON.parse(readFileSync(join(ROOT, `${file}.map`), "utf8")) as { sources: string[] };
    expect(there(normalize(join(dirname(file), sources[0]!))), file).toBe(true);
  }
  expect(files.filter((file) => /\.(jar|pem|key|log|tgz)$/.test(file))).toEqual([]);
});

itUnless(existsSync("/bin/sh") ? undefined : "there is no /bin/sh")("a reader who stops reading is no error", () => {
  const { status, stderr } = spawnSync("/bin/sh", ["-c", `"${process.execPath}" "${COMMAND}" machines | head -c 1`], {
    encoding: "utf8",
  });
  expect([status, stderr]).toEqual([0, ""]);
});

it("npm warns of no package that wants a newer Node.js than package.json says", () => {
  const read = (name: string) => JSON.parse(readFileSync(join(ROOT, name), "utf8"));
  const [, major, minor] = /^>=(\d+)\.(\d+)/.exec(read("package.json").engines.node)!.map(Number);
  const packages = Object.entries(read("package-lock.json").packages) as [
    string,
    { dev?: true; engines?: { node?: string } },
  ][];
  const newer = packages.filter(([, { dev, engines }]) => {
    if (dev || !engines?.node) return false;
    const lowest = engines.node.split("||").map((one) =>
      /(\d+)(?:\.(\d+))?/
        .exec(one)!
        .slice(1)
        .map((n) => Number(n ?? 0)),
    );
    return lowest.every(([a, b]) => a! > major! || (a === major && b! > minor!));
  });
  expect(newer.map(([name]) => name)).toEqual([]);
});
