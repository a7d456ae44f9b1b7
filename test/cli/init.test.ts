import { X509Certificate } from "node:crypto";
import { readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import { loadConfig } from "../../src/config/load.ts";
import { Terminal } from "./terminal.ts";

const terminals: Terminal[] = [];
const terminal = () => {
  const one = new Terminal();
  terminals.push(one);
  return one;
};
afterEach(() => {
  for (const one of terminals.splice(0)) one.remove();
});
const modeOf = (path: string) => (statSync(path).mode & 0o777).toString(8);

describe("tollgate init", () => {
  it("writes a configuration that can be used at once, with a user and certificates for trying out", async () => {
    const t = terminal();
    const { code, out } = await t.tollgate(["init", "portal", "--domain", "portal.example", "--address", "127.0.0.5"]);
    expect(code).toBe(0);
    expect(out).toContain("tollgate doctor --config portal/tollgate.yaml");
    const folder = join(t.folder, "portal");
    const path = join(folder, "tollgate.yaml");
    const read = loadConfig(path);
    if (!read.ok) throw new Error(JSON.stringify(read.error));
    expect(read.value.portal.domains).toEqual(["portal.example"]);
    expect(read.value.listen.map(({ transport, address, port }) => `${transport}:${address}:${port}`)).toEqual([
      "udp:127.0.0.5:5060",
      "tcp:127.0.0.5:5060",
      "tls:127.0.0.5:5061",
      "wss:127.0.0.5:8443",
    ]);
    const checked = await t.tollgate(["check-config", path]);
    expect([checked.code, checked.err]).toEqual([0, ""]);
    const certificate = new X509Certificate(readFileSync(join(folder, "tls/cert.pem")));
    expect(certificate.verify(new X509Certificate(readFileSync(join(folder, "tls/ca.pem"))).publicKey)).toBe(true);
    expect(certificate.checkHost("portal.example")).toBe("portal.example");
    expect(certificate.checkIP("127.0.0.5")).toBe("127.0.0.5");
    expect((await t.tollgate(["user", "list", "--config", path])).out).toContain("alice");
  });

  it("keeps what is secret from others, and prints no password", async () => {
    const t = terminal();
    const { out } = await t.tollgate(["init"]);
    const password = readFileSync(join(t.folder, "alice-password"), "utf8").trim();
    expect(password.length).toBeGreaterThan(12);
    expect(out).not.toContain(password);
    for (const name of ["alice-password", "tls/key.pem"]) expect(modeOf(join(t.folder, name))).toBe("600");
    expect(readFileSync(join(t.folder, "tollgate.yaml"), "utf8")).not.toContain(password);
  });

  it("writes over nothing that is there, and says what; --force does", async () => {
    const t = terminal();
    t.write("tollgate.yaml", "mine");
    const refused = await t.tollgate(["init"]);
    expect(refused.code).toBe(1);
    expect(refused.err).toContain("tollgate.yaml: is there already; --force");
    expect(readFileSync(join(t.folder, "tollgate.yaml"), "utf8")).toBe("mine");
    expect(() => statSync(join(t.folder, "alice-password"))).toThrow();
    expect((await t.tollgate(["init", "--force"])).code).toBe(0);
    const key = readFileSync(join(t.folder, "tls/key.pem"), "utf8");
    expect((await t.tollgate(["init", "--force"])).code).toBe(0);
    expect(readFileSync(join(t.folder, "tls/key.pem"), "utf8")).not.toBe(key);
    expect(modeOf(join(t.folder, "tls/key.pem"))).toBe("600");
  });

  it("leaves TLS out with --no-tls", async () => {
    const t = terminal();
    await t.tollgate(["init", "--no-tls"]);
    const text = readFileSync(join(t.folder, "tollgate.yaml"), "utf8");
    expect(text).not.toMatch(/^tls:|wss/m);
    expect(() => statSync(join(t.folder, "tls"))).toThrow();
    expect((await t.tollgate(["check-config"])).code).toBe(0);
  });

  it.each([
    [["--address", "portal.example"], "--address: expected an IP address"],
    [["--domain", 'x"\nbus: y'], "--domain: expected a host name"],
    [["--domain", "-x"], "--domain: expected a host name"],
  ])("refuses %j", async (args, why) => {
    const { code, err } = await terminal().tollgate(["init", ...args]);
    expect(code).toBe(2);
    expect(err).toContain(why);
  });
});
