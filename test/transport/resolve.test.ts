import { describe, expect, it } from "vitest";
import { parseUri } from "../../src/sip/uri.ts";
import type { Random } from "../../src/support/random.ts";
import { type Dns, type Naptr, Resolver, type ResolverOptions, type Srv } from "../../src/transport/resolve.ts";
import { TestClock } from "../support/test-clock.ts";

interface Zone {
  naptr?: Record<string, Naptr[]>;
  srv?: Record<string, Srv[]>;
  a?: Record<string, string[]>;
}

function setUp(zone: Zone = {}, options: Partial<ResolverOptions> = {}) {
  const asked: string[] = [];
  const look =
    <T>(kind: string, table: Record<string, T[]> | undefined) =>
    (name: string) => {
      asked.push(`${kind} ${name}`);
      const found = table?.[name];
      return found ? Promise.resolve(found) : Promise.reject(new Error("ENOTFOUND"));
    };
  const addresses = look("A", zone.a);
  const dns: Dns = {
    resolveNaptr: look("NAPTR", zone.naptr),
    resolveSrv: look("SRV", zone.srv),
    lookup: async (name) => (await addresses(name)).map((address) => ({ address })),
  };
  const clock = new TestClock();
  const token = { value: "0" };
  const random: Random = { token: () => token.value.repeat(12) };
  const resolver = new Resolver({ transports: ["udp", "tcp"], clock, random, dns, ...options });
  const resolve = (text: string) => {
    const uri = parseUri(text);
    if (!uri.ok || uri.value.scheme === "other") throw new Error(`not a SIP URI: ${text}`);
    return resolver.resolve(uri.value);
  };
  /** `["udp 192.0.2.1:5060"]`, or why there is nothing. */
  const find = async (text: string) => {
    const result = await resolve(text);
    return result.ok
      ? result.value.map(({ transport, address, port }) => `${transport} ${address}:${port}`)
      : result.error.reason;
  };
  return { resolve, find, asked, clock, token };
}

const srv = (name: string, port: number, priority = 0, weight = 0): Srv => ({ name, port, priority, weight });
const naptr = (order: number, service: string, replacement: string): Naptr => ({
  flags: "S",
  service,
  replacement,
  order,
  preference: 0,
});

describe("addresses in the URI (RFC 3263 §4.1, §4.2)", () => {
  it.each([
    ["sip:192.0.2.1", "udp 192.0.2.1:5060"],
    ["sip:alice@192.0.2.1:5070", "udp 192.0.2.1:5070"],
    ["sip:192.0.2.1;transport=TCP", "tcp 192.0.2.1:5060"],
    ["sip:[2001:db8::1]:5080", "udp 2001:db8::1:5080"],
    ["sips:192.0.2.1", "tls 192.0.2.1:5061"],
    ["sips:192.0.2.1;transport=tcp", "tls 192.0.2.1:5061"],
    ["sip:192.0.2.1;transport=tls", "tls 192.0.2.1:5061"],
    ["sip:name.example.com;maddr=192.0.2.9", "udp 192.0.2.9:5060"],
    ["sip:[2001:0DB8:0:0::1]", "udp 2001:db8::1:5060"],
    ["sip:[::ffff:192.0.2.10]", "udp 192.0.2.10:5060"], // RFC 5118 §4.9
    ["sip:[2001:db8:::192.0.2.1]", "udp 2001:db8::c000:201:5060"], // RFC 5118 §4.10
  ])("%s is %s, at once", (uri, expected) => {
    const { resolve, asked } = setUp({}, { transports: ["udp", "tcp", "tls"] });
    const result = resolve(uri);
    expect(result).not.toBeInstanceOf(Promise);
    expect("ok" in result && result.ok && result.value.map((d) => `${d.transport} ${d.address}:${d.port}`)).toEqual([
      expected,
    ]);
    expect(asked).toEqual([]);
  });

  it.each([
    ["sips:192.0.2.1", "transport tls is not supported"],
    ["sip:192.0.2.1;transport=sctp", "transport sctp is not supported"],
    ["sips:192.0.2.1;transport=udp", "a sips URI cannot be reached by udp"],
    // What the system's resolver would take for an address, and RFC 3261 §25.1 for no name.
    ["sip:2130706433", "2130706433 is no host name"],
    ["sip:127.1:5060", "127.1 is no host name"],
    ["sip:0x7f.0.0.1", "0x7f.0.0.1 is no host name"],
    ["sip:010.0.0.1", "010.0.0.1 is no host name"],
    ["sip:name.example.com;maddr=127.1", "127.1 is no host name"],
  ])("%s leads nowhere: %s", async (uri, reason) => {
    expect(await setUp().find(uri)).toBe(reason);
  });
});

describe("names (RFC 3263 §4)", () => {
  it("with a port are looked up as addresses only", async () => {
    const { find, asked } = setUp({ a: { "a.example.com": ["192.0.2.1", "2001:db8::1"] } });
    expect(await find("sip:a.example.com:5070")).toEqual(["udp 192.0.2.1:5070", "udp 2001:db8::1:5070"]);
    expect(asked).toEqual(["A a.example.com"]);
  });

  it("are the same name in upper case and with the dot at the end, and their addresses are written in one way", async () => {
    const { find, asked } = setUp({ a: { "a.example.com": ["2001:DB8:0::1", "::ffff:192.0.2.1"] } });
    expect(await find("sip:A.Example.com.:5070")).toEqual(["udp 2001:db8::1:5070", "udp 192.0.2.1:5070"]);
    await find("sip:a.example.com:5070");
    expect(asked).toEqual(["A a.example.com"]);
  });

  it("with a transport are looked up by SRV for it, else as addresses at its port", async () => {
    const zone = {
      srv: { "_sip._tcp.a.example.com": [srv("one.example.com", 5070)] },
      a: { "one.example.com": ["192.0.2.1"], "b.example.com": ["192.0.2.2"] },
    };
    const { find, asked } = setUp(zone);
    expect(await find("sip:a.example.com;transport=tcp")).toEqual(["tcp 192.0.2.1:5070"]);
    expect(await find("sip:b.example.com;transport=tcp")).toEqual(["tcp 192.0.2.2:5060"]);
    expect(asked).not.toContain("NAPTR a.example.com");
  });

  it("without either follow NAPTR in its order, for the transports that we have", async () => {
    const { find } = setUp({
      naptr: {
        "example.com": [
          naptr(100, "SIP+D2U", "_sip._udp.example.com"),
          naptr(50, "SIPS+D2T", "_sips._tcp.example.com"),
          naptr(90, "SIP+D2T", "_sip._tcp.example.com"),
        ],
      },
      srv: {
        "_sip._udp.example.com": [srv("one.example.com", 5060)],
        "_sip._tcp.example.com": [srv("two.example.com", 5062)],
        "_sips._tcp.example.com": [srv("two.example.com", 5061)],
      },
      a: { "one.example.com": ["192.0.2.1"], "two.example.com": ["192.0.2.2"] },
    });
    expect(await find("sip:alice@example.com")).toEqual(["tcp 192.0.2.2:5062", "udp 192.0.2.1:5060"]);
  });

  it("without NAPTR are looked up by SRV for each transport that we have", async () => {
    const { find } = setUp({
      srv: { "_sip._tcp.example.com": [srv("two.example.com", 5062)] },
      a: { "two.example.com": ["192.0.2.2"] },
    });
    expect(await find("sip:example.com")).toEqual(["tcp 192.0.2.2:5062"]);
  });

  it("without any of these are addresses at the default port by UDP, or TLS for SIPS", async () => {
    const { find } = setUp({ a: { "example.com": ["192.0.2.3"] } }, { transports: ["udp", "tcp", "tls"] });
    expect(await find("sip:Example.com")).toEqual(["udp 192.0.2.3:5060"]);
    expect(await find("sips:example.com")).toEqual(["tls 192.0.2.3:5061"]);
  });

  it("that nobody knows lead nowhere, and the reason says so", async () => {
    expect(await setUp().find("sip:nobody.example.com")).toBe("no address found for nobody.example.com");
  });

  it("whose SRV target is a dot offer no such service (RFC 2782)", async () => {
    const zone = { srv: { "_sip._udp.example.com": [srv(".", 0)] }, a: { "example.com": ["192.0.2.3"] } };
    expect(await setUp(zone).find("sip:example.com;transport=udp")).toBe("no address found for example.com");
  });
});

describe("the order of SRV records (RFC 2782)", () => {
  const zone = {
    srv: {
      "_sip._udp.example.com": [
        srv("backup", 5060, 20, 0),
        srv("light", 5060, 10, 1),
        srv("heavy", 5060, 10, 99),
        srv("never", 5060, 10, 0),
      ],
    },
    a: { backup: ["192.0.2.9"], light: ["192.0.2.1"], heavy: ["192.0.2.2"], never: ["192.0.2.3"] },
  };

  it("is by priority first, and within it drawn by weight", async () => {
    const clock = new TestClock();
    let seed = 1;
    const random = {
      token: () => {
        seed = (seed * 48_271) % 2_147_483_647;
        return seed.toString(16).padStart(12, "0");
      },
    };
    const { find } = setUp(zone, { clock, random });
    const first: Record<string, number> = {};
    for (let i = 0; i < 1_000; i++) {
      const found = await find("sip:example.com;transport=udp");
      if (typeof found === "string") throw new Error(found);
      expect(found).toHaveLength(4);
      expect(found[3]).toBe("udp 192.0.2.9:5060");
      first[found[0] ?? ""] = (first[found[0] ?? ""] ?? 0) + 1;
    }
    expect(first["udp 192.0.2.2:5060"]).toBeGreaterThan(950);
    expect(first["udp 192.0.2.1:5060"]).toBeGreaterThan(0);
  });
});

describe("what is remembered (decision 14)", () => {
  const zone = { a: { "a.example.com": ["192.0.2.1"], "b.example.com": ["192.0.2.2"] } };

  it("answers at once from memory for a time, then asks again", async () => {
    const { resolve, find, asked, clock } = setUp(zone, { ttlMs: 30_000 });
    await find("sip:a.example.com:5060");
    clock.advance(29_999);
    expect(resolve("sip:a.example.com:5060")).not.toBeInstanceOf(Promise);
    clock.advance(1);
    expect(resolve("sip:a.example.com:5060")).toBeInstanceOf(Promise);
    expect(asked).toHaveLength(2);
  });

  it.each([-3_600_000, 3_600_000])(
    "remembers neither longer nor shorter where the wall clock is set by %i ms",
    async (byMs) => {
      const { resolve, find, clock } = setUp(zone, { ttlMs: 30_000 });
      await find("sip:a.example.com:5060");
      clock.setWall(byMs);
      clock.advance(29_999);
      expect(resolve("sip:a.example.com:5060")).not.toBeInstanceOf(Promise);
      clock.advance(1);
      expect(resolve("sip:a.example.com:5060")).toBeInstanceOf(Promise);
    },
  );

  it("asks once for what many want at the same time", async () => {
    const { find, asked } = setUp(zone);
    await Promise.all([1, 2, 3].map(() => find("sip:a.example.com:5060")));
    expect(asked).toHaveLength(1);
  });

  it("asks sooner again for what was not found", async () => {
    const { find, asked, clock } = setUp();
    await find("sip:x.example.com:5060");
    await find("sip:x.example.com:5060");
    clock.advance(2_000);
    await find("sip:x.example.com:5060");
    expect(asked).toHaveLength(2);
  });

  it("forgets the oldest name over the bound", async () => {
    const { find, resolve } = setUp(zone, { maxNames: 1 });
    await find("sip:a.example.com:5060");
    await find("sip:b.example.com:5060");
    expect(resolve("sip:b.example.com:5060")).not.toBeInstanceOf(Promise);
    expect(resolve("sip:a.example.com:5060")).toBeInstanceOf(Promise);
  });

  it("asks for no more names at once than the bound, and keeps nothing of those refused", async () => {
    const never = new Promise<never>(() => undefined);
    const dns: Dns = { resolveNaptr: () => never, resolveSrv: () => never, lookup: () => never };
    const { find, resolve } = setUp({}, { maxNames: 2, dns });
    resolve("sip:a.example.com:5060");
    resolve("sip:b.example.com:5060");
    expect(await find("sip:c.example.com:5060")).toBe("no address found for c.example.com");
  });

  it("gives up when the domain name system is silent", async () => {
    const never = new Promise<never>(() => undefined);
    const dns: Dns = { resolveNaptr: () => never, resolveSrv: () => never, lookup: () => never };
    const { find, clock } = setUp({}, { dns, timeoutMs: 8_000 });
    const found = find("sip:a.example.com");
    clock.advance(8_000);
    expect(await found).toBe("no address found for a.example.com");
  });

  it("follows only so many records of one domain", async () => {
    const records = Array.from({ length: 500 }, (_, i) => srv("one.example.com", 5000 + i));
    const zone = { srv: { "_sip._udp.example.com": records }, a: { "one.example.com": Array(50).fill("192.0.2.1") } };
    const found = await setUp(zone).find("sip:example.com;transport=udp");
    expect(found).toHaveLength(32);
  });
});
