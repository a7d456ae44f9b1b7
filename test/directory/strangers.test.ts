import { describe, expect, it } from "vitest";
import { SCANNERS, Strangers, type StrangersSettings } from "../../src/directory/strangers.ts";
import { Headers, SipRequest } from "../../src/sip/message.ts";
import { PeerLog } from "../../src/support/peer-log.ts";
import { keptLog } from "../support/lines.ts";
import { TestClock } from "../support/test-clock.ts";

const ADDRESS = "192.0.2.9";

function open(settings: Partial<StrangersSettings> = {}) {
  const clock = new TestClock();
  const { log, of } = keptLog();
  const all = { scanners: SCANNERS, unknownUsers: 3, windowS: 60, dropS: 120, ...settings };
  const strangers = new Strangers(all, clock, new PeerLog({ log, clock }));
  const asked = (userAgent?: string) => {
    const headers = new Headers();
    if (userAgent !== undefined) headers.add("User-Agent", userAgent);
    return new SipRequest("INVITE", "sip:100@portal.example", headers);
  };
  const from = (remoteAddress: string) =>
    ({ remoteAddress, remotePort: 5060, transport: "udp", secure: false }) as const;
  return {
    ...{ clock, of, strangers },
    ignores: (userAgent?: string, address = ADDRESS, isKnown = false) => {
      const request = asked(userAgent);
      return strangers.mayIgnore(request) && strangers.ignores(request, from(address), false, () => isKnown);
    },
    fails: (user: string, address = ADDRESS, more: { isUnknown?: boolean; mayBeForged?: boolean } = {}) =>
      strangers.refused({ request: asked(), source: from(address), user, reason: "wrong", isUnknown: true, ...more }),
  };
}

describe("a scanner", () => {
  it.each([
    "friendly-scanner",
    "Friendly-Scanner",
    "friendly-request",
    "sipvicious",
    "sipcli/v1.8",
    "pplsip",
    "VaxSIPUserAgent/3.1",
    "sundayddr",
    "sipscan",
    "iWar",
  ])("is known by its User-Agent, and gets no answer: %s", (userAgent) => {
    const { ignores, of } = open();
    expect(ignores(userAgent)).toBe(true);
    expect(of("a scanner is not answered")).toEqual([
      {
        ...{ address: ADDRESS, port: 5060, transport: "udp", mayBeForged: true },
        ...{ method: "INVITE", userAgent },
      },
    ]);
  });

  it.each([
    "baresip v3.12.0",
    "Linphonec/5.1.0",
    "Zoiper rv2.10",
    "Grandstream GXP2170 1.0.11.57",
    "JsSIP 3.13.8",
    "MicroSIP/3.21.3",
    "Asterisk PBX 20",
    "my friendly-scanner",
    "sipsak 0.9.8.1", // operators look with it whether a server is there
    undefined,
  ])("is not: %s", (userAgent) => {
    expect(open().ignores(userAgent)).toBe(false);
  });

  it("is what the operator says", () => {
    const { ignores } = open({ scanners: ["Evil/[0-9]+"] });
    expect([ignores("Evil/12"), ignores("evil/12"), ignores("friendly-scanner")]).toEqual([true, false, false]);
    expect(open({ scanners: [] }).ignores("friendly-scanner")).toBe(false);
  });
});

describe("an address that tries unknown users", () => {
  it("gets no answer after so many names, for so long, and leaves a line for fail2ban", () => {
    const { clock, fails, ignores, of } = open();
    for (const user of ["100", "101", "101", "100"]) fails(user);
    expect(ignores()).toBe(false); // two names
    fails("102");
    expect(ignores()).toBe(true);
    expect(ignores(undefined, "192.0.2.10")).toBe(false);
    expect(of("unknown users: not answered")).toMatchObject([{ address: ADDRESS, transport: "udp", names: 3 }]);
    expect(of("unknown users: not answered")[0]).not.toHaveProperty("mayBeForged");
    clock.advance(119_999);
    expect(ignores()).toBe(true);
    clock.advance(1);
    expect(ignores()).toBe(false);
  });

  it("is answered all the same for users who have signed in from there", () => {
    const { fails, ignores } = open();
    for (const user of ["100", "101", "102"]) fails(user);
    expect(ignores(undefined, ADDRESS, true)).toBe(false);
    expect(ignores("friendly-scanner", ADDRESS, true)).toBe(true);
  });

  it.each([
    ["known users with a wrong password", { isUnknown: false }],
    ["names from an address that may be forged", { mayBeForged: true }],
  ])("is not one with %s", (_, more) => {
    const { fails, ignores } = open();
    for (let i = 0; i < 20; i++) fails(`${i}`, ADDRESS, more);
    expect(ignores()).toBe(false);
  });

  it("has time to mistype: names count within the window alone, and for the whole network of IPv6", () => {
    const { clock, fails, ignores } = open();
    for (let i = 0; i < 6; i++) {
      fails(`${i}`);
      clock.advance(30_000);
    }
    expect(ignores()).toBe(false);
    for (let i = 0; i < 3; i++) fails(`${i}`, `2001:db8::${i}`);
    expect(ignores(undefined, "2001:db8::99")).toBe(true);
  });

  it("does not fill the memory, and 0 asks for nothing", () => {
    const { fails, ignores, strangers } = open({ unknownUsers: 1 });
    for (let i = 0; i < 10_050; i++) fails("x", `10.${i >> 16}.${(i >> 8) & 255}.${i & 255}`);
    expect(ignores(undefined, "10.0.0.0")).toBe(false); // the oldest was forgotten
    expect(ignores(undefined, "10.0.39.60")).toBe(true);
    expect(strangers.counters.sourcesIgnored).toBe(10_050);
    const off = open({ unknownUsers: 0 });
    for (let i = 0; i < 50; i++) off.fails(`${i}`);
    expect(off.ignores()).toBe(false);
  });
});
