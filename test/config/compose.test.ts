import { existsSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { describe, expect, it } from "vitest";
import { parse } from "yaml";
import { loadConfig } from "../../src/config/load.ts";
import { ROOT } from "../support/project.ts";

interface Compose {
  readonly services: Readonly<Record<string, { readonly volumes: readonly string[]; readonly image: string }>>;
  readonly volumes: Readonly<Record<string, null>>;
}

describe("ops/compose.yaml (P2)", () => {
  const ops = join(ROOT, "ops");
  const compose = parse(readFileSync(join(ops, "compose.yaml"), "utf8"), { merge: true }) as Compose;

  it("has NATS, MongoDB, a relay and a billing worker, with files and volumes that are there", () => {
    expect(Object.keys(compose.services)).toEqual(["nats", "mongo", "relay", "billing"]);
    for (const volume of Object.values(compose.services).flatMap(({ volumes }) => volumes)) {
      const [from = ""] = volume.split(":");
      if (from.startsWith(".")) expect(existsSync(resolve(ops, from)), volume).toBe(true);
      else expect(compose.volumes).toHaveProperty([from]);
    }
  });

  it.each(["relay", "billing"])("gives %s a configuration without mistakes", (role) => {
    const loaded = loadConfig(join(ops, `compose/${role}.yaml`));
    expect(loaded.ok ? loaded.value : loaded.error).toMatchObject({
      roles: [role],
      store: { url: expect.stringMatching(/^mongodb:\/\/mongo:/), user: "tollgate" },
    });
  });
});
