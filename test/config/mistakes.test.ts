import { describe, expect, it } from "vitest";
import { advice } from "../../src/config/advice.ts";
import { changesOf } from "../../src/config/changes.ts";
import { parseConfig } from "../../src/config/load.ts";
import { formatProblem } from "../../src/config/problems.ts";

const problems = (text: string): string[] => {
  const read = parseConfig(text, "t.yaml");
  return read.ok ? [] : read.error.map(formatProblem);
};
const config = (text: string) => {
  const read = parseConfig(text, "t.yaml");
  if (!read.ok) throw new Error(problems(text).join("\n"));
  return read.value;
};
const shop = (uri: string) => `appServers: [{ id: shop, uri: "${uri}", services: [wine] }]`;

describe("a mistake in a setting", () => {
  it.each([
    [shop("sip:10.0.0.5:99999"), "a port from 1 to 65535"],
    [shop("sip:[::1]:0"), "a port from 1 to 65535"],
    [shop("sip:10.0.0.5;transport=sctp"), "one of the transports udp, tcp, tls, ws, wss"],
    ["listen: ['udp:127.0.0.1:99999']", "expected an address such as"],
    ["listen: ['sctp:127.0.0.1']", "expected an address such as"],
    ["listen: [{ transport: tcp, address: 127.0.0.1, deny: [10.0.0.0/33] }]", "a network such as 10.0.0.0/8"],
    ["listen: [{ transport: tcp, address: 127.0.0.1, allow: [shop.example] }]", "listen[0].allow[0]: expected an IP"],
    ["listen: [{ transport: tcp, address: 127.0.0.1, allow: [] }]", "at least one network"],
    ["listen: [{ transport: udp, address: 127.0.0.1, proxyProtocol: [10.0.0.7] }]", "listen[0].proxyProtocol"],
    ["strangers: { scanners: ['(?=x)'] }", "strangers.scanners[0]: expected a pattern without look-ahead"],
    [
      "provisioning: { url: 'http://portal.example', sip: 'sip:portal.example' }\nhttp: { listen: '127.0.0.1:1' }",
      "an https",
    ],
    ["provisioning: { url: 'https://portal.example', sip: 'sip:portal.example' }", "http.listen"],
    ["session: { probeS: 60000 }", "at most 3600"],
    ["taxes: [{ id: vat, rate: 190 }]", "a percentage of 100 at most"],
    ["session: { silentS: 8s }", 'expected seconds, as a number alone: write 8; found "8s"'],
    ["session: { probeS: 2min }", "expected seconds, as a number alone: write 120"],
    ["timers: { t1Ms: 0.5s }", "expected milliseconds, as a number alone: write 500"],
    ["retention: { accountsDays: 90d }", "expected days, as a number alone: write 90"],
  ])("is named: %s", (text, why) => {
    expect(problems(text)).toEqual([expect.stringContaining(why)]);
  });

  it.each([
    shop("sip:10.0.0.5:65535;transport=TCP"),
    shop("sips:shop.example:5061"),
    shop("sip:user@[2001:db8::5]:5070"),
    "taxes: [{ id: vat, rate: 100 }]",
    "listen: [{ transport: tls, address: 127.0.0.1, allow: ['2001:db8::/32', 10.0.0.1], proxyProtocol: [10.0.0.7] }]\ntls: { cert: c, key: k }",
  ])("is not seen in %s", (text) => {
    expect(problems(text)).toEqual([]);
  });
});

describe("what is no mistake, but not meant", () => {
  const nothing = { services: [], appServers: [] };
  const said = (text: string, registered: Parameters<typeof advice>[1] = nothing) =>
    advice(config(text), registered).map(({ path, message }) => `${path.join(".")}: ${message}`);

  it("is a realm that users do not have", () => {
    const realms = new Map([
      ["old.example", 143],
      ["a.example", 5],
      ["b.example", 2],
    ]);
    const text = "portal: { domains: [a.example, b.example], ownUsers: [b.example] }";
    expect(said(text, { ...nothing, realms })).toEqual([
      "portal.realm: 143 users have realm old.example, and cannot sign in with realm a.example: give them their passwords again, or set realm: old.example",
    ]);
  });

  it("is a service that nobody offers, in the file or in the store", () => {
    expect(said("services: [{ id: wine }]")).toEqual([
      expect.stringContaining("services.0: no app server offers service wine"),
    ]);
    const beer = { ...nothing, services: [{ id: "beer" }] };
    expect(said("", beer)).toEqual([expect.stringContaining("no app server offers service beer")]);
    expect(said(shop("sip:10.0.0.5"), { ...nothing, services: [{ id: "wine" }] })).toEqual([]);
  });

  it("is a portal without a domain that other machines reach", () => {
    expect(said("listen: ['udp:10.0.0.2']")).toEqual([expect.stringContaining("listen: no domain is set")]);
    expect(said("listen: ['udp:10.0.0.2']\nportal: { domain: a.example }")).toEqual([]);
    expect(said("")).toEqual([]);
  });
});

describe("a configuration that is read again", () => {
  it("says which settings hold from now on, and which wait for a restart", () => {
    const running = config("services: [{ id: wine }]");
    const next = config(
      "services: [{ id: beer }]\nlimits: { calls: 5 }\nportal: { domain: a.example }\nsettlement: { timeShare: 5 }",
    );
    expect(changesOf(running, running, next)).toEqual({
      taken: ["portal.domains", "services", "settlement"],
      waiting: ["limits.calls", "portal.realm"],
    });
    expect(changesOf(running, next, next)).toEqual({ taken: [], waiting: ["limits.calls", "portal.realm"] });
    expect(changesOf(running, next, running)).toEqual({
      taken: ["portal.domains", "services", "settlement"],
      waiting: [],
    });
  });
});
