import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { isInstalled } from "../support/peers.ts";
import { ROOT } from "../support/project.ts";

/* The table of clients in ops/guide/transports.md says what is true of the clients that the tests have called with. */

const page = readFileSync(join(ROOT, "ops/guide/transports.md"), "utf8");
const rows = [...page.slice(page.indexOf("## Clients that are tried")).matchAll(/^\| (\S.*?) \| (.+?) \|/gm)]
  .map(([, client = "", over = ""]) => ({ client, over }))
  .filter(({ client }) => client !== "client" && !client.startsWith("-"));
const packaged = (name: string) =>
  (JSON.parse(readFileSync(join(ROOT, "node_modules", name, "package.json"), "utf8")) as { version: string }).version;
const said = (program: string, option: string) => {
  if (!isInstalled(program)) return undefined;
  const { stdout, stderr } = spawnSync(program, [option], { encoding: "utf8", timeout: 5_000 });
  return /\bv(?:ersion:? )?(\d+(?:\.\d+)+)/i.exec(stdout + stderr)?.[1];
};

/** The version that is here, and the tests that call with it over each transport of the table. */
const CLIENTS: Record<string, { readonly version: () => string | undefined; readonly tests: readonly string[] }> = {
  baresip: { version: () => said("baresip", "-h"), tests: ["baresip", "connections"] },
  linphonec: { version: () => said("linphonec", "--version"), tests: ["linphone", "connections"] },
  SIPp: { version: () => said("sipp", "-v"), tests: ["sipp", "connections"] },
  JsSIP: { version: () => packaged("jssip"), tests: ["browser-libraries"] },
  "SIP.js": { version: () => packaged("sip.js"), tests: ["browser-libraries"] },
};
const SPOKEN: Record<string, string> = {
  UDP: "udp",
  TCP: "tcp",
  TLS: "tls",
  WebSocket: "ws",
  "secure WebSocket": "wss",
};

describe("the table of clients in the guide", () => {
  it("has each client that the tests call with, and no other but the SDK", () => {
    expect(rows.map(({ client }) => client.replace(/ [\d.]+$/, "")).sort()).toEqual(
      [...Object.keys(CLIENTS), "the SDK"].sort(),
    );
  });

  it.each(Object.entries(CLIENTS))(
    "names %s's version and transports as the tests have them",
    (name, { version, tests }) => {
      const { client, over } = rows.find((row) => row.client.startsWith(`${name} `))!;
      const here = version();
      if (here !== undefined) expect(`${name} ${here}.`).toContain(`${client}.`);
      const text = tests.map((test) => readFileSync(join(ROOT, `test/peers/${test}.test.ts`), "utf8")).join("\n");
      expect(text.toLowerCase()).toContain(name.toLowerCase().replace("linphonec", "linphone"));
      for (const transport of over.split(", "))
        if (transport !== "UDP") expect(text).toContain(`"${SPOKEN[transport]}"`);
    },
  );
});
