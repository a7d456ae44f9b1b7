import { readFileSync } from "node:fs";
import { expect, it } from "vitest";

interface Package {
  readonly version?: string;
  readonly engines?: { readonly node?: string };
}

/** Whether one of the alternatives of a range begins at that major version of Node or before. */
const reaches = (range: string, major: number): boolean =>
  range.split("||").some((part) => Number(/\d+/.exec(part)?.[0] ?? 0) <= major);

it("every package runs on the oldest Node that this one runs on, so that npm warns of nothing (EBADENGINE)", () => {
  const { packages } = JSON.parse(readFileSync("package-lock.json", "utf8")) as { packages: Record<string, Package> };
  const oldest = Number(/\d+/.exec(packages[""]!.engines!.node!)![0]);
  const tooNew = Object.entries(packages).filter(([, { engines }]) => engines?.node && !reaches(engines.node, oldest));
  expect(tooNew.map(([name, { version, engines }]) => `${name} ${version}: ${engines!.node}`)).toEqual([]);
});
