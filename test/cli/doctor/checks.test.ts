import { describe, expect, it } from "vitest";
import { certificates } from "../../../src/cli/doctor/certificates.ts";
import { CHECKS, diagnose } from "../../../src/cli/doctor/checks.ts";
import { dns } from "../../../src/cli/doctor/dns.ts";
import { bus, files, limits, storeAndClock } from "../../../src/cli/doctor/machine.ts";
import { ports } from "../../../src/cli/doctor/ports.ts";
import { appServers, reach, rtpengines } from "../../../src/cli/doctor/reach.ts";
import { type Finding, ok } from "../../../src/cli/doctor/types.ts";
import { authority } from "../../support/certificates.ts";
import { grades, lines, world, type Zone } from "./world.ts";

const listen = (...all: string[]) => `listen: [${all.map((one) => `'${one}'`).join(", ")}]`;

/** Whoever finds something wrong says what to do; what is right needs nothing done. */
function sound(findings: readonly Finding[]): readonly Finding[] {
  for (const { grade, todo } of findings) expect(todo === undefined).toBe(grade === "ok");
  expect(findings.length).toBeGreaterThan(0);
  return findings;
}

describe("ports", () => {
  const two = listen("udp:127.0.0.1:5060", "tcp:127.0.0.1:5060");

  it("that are free are well", async () => {
    expect(lines(sound(await ports(world(two))))).toEqual([
      "ok: udp:127.0.0.1:5060 is free",
      "ok: tcp:127.0.0.1:5060 is free",
    ]);
  });

  it.each([
    ["EADDRINUSE", "ss -lnptu"],
    ["EADDRNOTAVAIL", "advertised"],
    ["EACCES", "cap_net_bind_service"],
    ["EWHATEVER", "another address"],
  ])("that cannot be had are a problem: %s", async (code, todo) => {
    const found = sound(await ports(world(listen("tcp:127.0.0.1:80"), { listens: async () => code })));
    expect(found).toMatchObject([{ grade: "problem", what: `tcp:127.0.0.1:80: ${code}` }]);
    expect(found[0]!.todo).toContain(todo);
  });

  it("of a relay that runs are taken, and a free one tells that it runs with another configuration", async () => {
    const runs = { relayRuns: async () => true };
    expect(grades(await ports(world(two, { ...runs, listens: async () => "EADDRINUSE" })))).toEqual(["ok", "ok"]);
    expect(grades(sound(await ports(world(two, runs))))).toEqual(["warning", "warning"]);
  });

  it("of HTTP are looked at, too", async () => {
    const found = await ports(world("http: { listen: '127.0.0.1:8443' }", { listens: async () => "EADDRINUSE" }));
    expect(lines(found).at(-1)).toBe("problem: http:127.0.0.1:8443: EADDRINUSE");
  });
});

describe("what clients are told", () => {
  it.each([
    ["ok", listen("udp:203.0.113.5"), {}],
    ["warning", listen("udp:127.0.0.1"), {}],
    ["warning", listen("udp:10.0.0.2"), { addresses: () => ["10.0.0.2"] }],
    ["warning", listen("udp:[fd00::2]"), { addresses: () => ["fd00::2"] }],
    ["problem", listen("udp:203.0.113.6"), {}],
    ["ok", listen("udp:0.0.0.0"), {}],
    ["warning", listen("udp:0.0.0.0"), { addresses: () => ["127.0.0.1", "192.168.1.2"] }],
    ["warning", listen("udp:0.0.0.0"), { addresses: () => ["127.0.0.1"] }],
    ["ok", "listen: [{ transport: udp, address: 10.0.0.2, advertised: '198.51.100.7:5060' }]", {}],
    ["warning", "listen: [{ transport: udp, address: 10.0.0.2, advertised: 192.168.0.7 }]", {}],
    ["problem", "listen: [{ transport: udp, address: 10.0.0.2, advertised: 0.0.0.0 }]", {}],
    ["problem", "listen: [{ transport: udp, address: 10.0.0.2, advertised: sip.portal.example }]", {}],
    [
      "ok",
      "listen: [{ transport: udp, address: 10.0.0.2, advertised: sip.portal.example }]",
      { zone: { a: { "sip.portal.example": ["198.51.100.7"] } } },
    ],
  ])("is %s: %s", async (grade, text, given) => {
    expect(grades(sound(await reach(world(text, given))))).toEqual([grade]);
  });
});

describe("media relays", () => {
  it("are well where they answer, a problem where they do not, and nothing where there are none", async () => {
    const two = "media: { rtpengines: ['10.0.0.9:2223', '[::1]:2223'] }";
    const pings = async ({ port, host }: { port: number; host: string }) =>
      host === "10.0.0.9" ? undefined : `${port}`;
    expect(lines(sound(await rtpengines(world(two, { pings }))))).toEqual([
      "ok: rtpengine 10.0.0.9:2223 answers",
      "problem: rtpengine [::1]:2223: 2223",
    ]);
    expect(grades(await rtpengines(world("{}")))).toEqual(["ok"]);
  });
});

describe("certificates", () => {
  const ca = authority();
  const both = "listen: ['tls:203.0.113.5']\nportal: { domain: portal.example }\ntls: { cert: /c.pem, key: /k.pem }";
  const DAY_MS = 86_400_000;
  const of = (cert: string | undefined, key: string | undefined, text = both) =>
    sound(
      certificates(
        world(text, { read: (path) => (path.endsWith("c.pem") ? cert : path.endsWith("k.pem") ? key : undefined) }),
      ),
    );
  const issued = (more: Parameters<typeof ca.issue>[0] = {}) => ca.issue({ names: ["DNS:portal.example"], ...more });

  it("that fit, are in time and have the names are well; an authority of one's own is a warning", () => {
    const { cert, key } = issued();
    expect(grades(of(cert, key))).toEqual(["ok", "ok", "ok", "warning"]);
    expect(lines(of(cert + ca.cert, key)).at(-1)).toContain("an authority of your own");
  });

  it("for telephone numbers say for which they are (RFC 8226), or a SHAKEN network refuses them", () => {
    const text = "identity: { url: 'https://portal.example', shaken: { certificate: /c.pem, key: /k.pem } }";
    const numbers = ca.issue({ spc: "709J" });
    const found = of(numbers.cert, numbers.key, text);
    expect(grades(found)).toEqual(["ok", "ok", "ok"]);
    expect(lines(found).at(-1)).toBe("ok: /c.pem is for provider 709J");
    const { cert, key } = issued();
    expect(lines(of(cert, key, text)).at(-1)).toContain("warning: /c.pem does not say for which numbers");
    expect(grades(of(undefined, key, text))).toEqual(["problem"]);
    expect(grades(of(cert, numbers.key, text))).toEqual(["ok", "problem", "warning"]);
  });

  it.each<[string, string, Finding["grade"], () => [string | undefined, string | undefined]]>([
    ["no file", "cannot be read", "problem", () => [undefined, undefined]],
    ["no certificate", "holds no certificate", "problem", () => ["x", "x"]],
    ["no key", "/k.pem cannot be read", "problem", () => [issued().cert, undefined]],
    ["a key that is none", "holds no private key", "problem", () => [issued().cert, "x"]],
    ["the key of another", "does not fit", "problem", () => [issued().cert, issued().key]],
    [
      "an old one",
      "has expired",
      "problem",
      () => {
        const { cert, key } = issued({
          from: new Date(Date.now() - 9 * DAY_MS),
          to: new Date(Date.now() - 2 * DAY_MS),
        });
        return [cert, key];
      },
    ],
    [
      "one that is soon old",
      "expires in 12 days",
      "warning",
      () => {
        const { cert, key } = issued({ to: new Date(Date.now() + 12.5 * DAY_MS) });
        return [cert, key];
      },
    ],
    [
      "one that is not valid yet",
      "is valid from",
      "problem",
      () => {
        const { cert, key } = issued({ from: new Date(Date.now() + DAY_MS) });
        return [cert, key];
      },
    ],
    [
      "one for another name",
      "is not for portal.example",
      "problem",
      () => {
        const { cert, key } = issued({ names: ["DNS:other.example"] });
        return [cert, key];
      },
    ],
    [
      "a wildcard",
      "is not for portal.example",
      "problem",
      () => {
        const { cert, key } = issued({ names: ["DNS:*.example"] });
        return [cert, key];
      },
    ],
    [
      "a chain that is none",
      "certificate 2 did not sign certificate 1",
      "problem",
      () => {
        const { cert, key } = issued();
        return [cert + authority("Other").cert, key];
      },
    ],
  ])("are named: %s", (_, what, grade, make) => {
    const found = of(...make());
    expect(found.filter((one) => one.what.includes(what)).map((one) => one.grade)).toEqual([grade]);
  });

  it("are not missed where no listener uses TLS", () => {
    expect(grades(of(undefined, undefined, listen("udp:203.0.113.5")))).toEqual(["ok"]);
  });
});

describe("DNS", () => {
  const text =
    "portal: { domain: portal.example }\nlisten: ['udp:203.0.113.5', 'tls:203.0.113.5']\ntls: { cert: c, key: k }";
  const sip = { name: "sip.portal.example", port: 5060 };
  const sips = { name: "sip.portal.example", port: 5061 };
  const a = { "sip.portal.example": ["203.0.113.5"] };
  const found = async (zone: Zone, of = text) => sound(await dns(world(of, { zone })));

  it.each<[string, Finding["grade"], Zone]>([
    [
      "SRV records for every listener",
      "ok",
      { a, srv: { "_sip._udp.portal.example": [sip], "_sips._tcp.portal.example": [sips] } },
    ],
    ["address records alone, and the usual ports", "ok", { a: { "portal.example": ["203.0.113.5"] } }],
    [
      "NAPTR and SRV",
      "ok",
      {
        a,
        naptr: { "portal.example": [{ service: "SIP+D2U", replacement: "_sip._udp.portal.example" }] },
        srv: { "_sip._udp.portal.example": [sip] },
      },
    ],
    ["nothing", "problem", {}],
    [
      "NAPTR that leads nowhere",
      "problem",
      {
        a: { "portal.example": ["203.0.113.5"] },
        naptr: { "portal.example": [{ service: "SIP+D2U", replacement: "x.example" }] },
      },
    ],
    ["SRV to a name without address", "problem", { srv: { "_sip._udp.portal.example": [sip] } }],
    ["SRV to another port", "warning", { a, srv: { "_sip._udp.portal.example": [{ ...sip, port: 5080 }] } }],
    ["an address that is another's", "warning", { a: { "portal.example": ["198.51.100.9"] } }],
  ])("with %s: %s", async (_, worst, zone) => {
    const all = grades(await found(zone));
    const reached = all.includes("problem") ? "problem" : all.includes("warning") ? "warning" : "ok";
    expect(reached).toBe(worst);
  });

  it("says what to add, and that other ports need SRV records", async () => {
    expect((await found({}))[0]!.todo).toContain("_sip._udp.portal.example. SRV 10 0 5060 sip.portal.example.");
    const odd = text.replace("udp:203.0.113.5", "udp:203.0.113.5:5070");
    const said = await found({ a: { "portal.example": ["203.0.113.5"] } }, odd);
    expect(grades(said)).toEqual(["ok", "warning"]);
  });

  it("knows addresses that are advertised, and asks nobody about addresses and localhost", async () => {
    const behind =
      "portal: { domain: portal.example }\nlisten: [{ transport: udp, address: 10.0.0.2, advertised: 198.51.100.9 }]";
    expect(grades(await found({ a: { "portal.example": ["198.51.100.9"] } }, behind))).toEqual(["ok"]);
    expect(grades(await found({}, "portal: { domains: [localhost, 192.0.2.1] }"))).toEqual(["ok"]);
  });
});

describe("files and disk", () => {
  const text = "tls: { cert: /c.pem, key: /k.pem }\nbus: { servers: nats://127.0.0.1, secretFile: /s }";

  it.each([
    ["ok", {}],
    ["ok", { modeOf: () => 0o100640 }],
    ["warning", { modeOf: () => 0o100644 }],
    ["problem", { modeOf: () => undefined }],
  ])("secrets: %s", (grade, given) => {
    expect(grades(sound(files(world(text, given))))).toEqual(["ok", grade, grade]);
  });

  it.each([
    ["ok", 1e11],
    ["warning", 300_000_000],
    ["problem", 100_000_000],
  ])("room on the disk: %s", (grade, free) => {
    expect(grades(sound(files(world("", { freeBytes: () => free }))))).toEqual([grade]);
  });
});

describe("limits of the system", () => {
  const read = (open: string, buffer: number) => (path: string) =>
    path.endsWith("rmem_max")
      ? `${buffer}\n`
      : `Limit  Soft  Hard\nMax open files            ${open}    1048576  files\n`;

  it.each([
    [["ok", "ok", "ok"], read("65536", 8_388_608), 4e9],
    [["ok", "ok", "ok"], read("unlimited", 16_777_216), 4e9],
    [["warning", "ok", "ok"], read("1024", 8_388_608), 4e9],
    [["ok", "warning", "ok"], read("65536", 212_992), 4e9],
    [["ok", "ok", "warning"], read("65536", 8_388_608), 5e8],
  ])("%j", (expected, reads, heapBytes) => {
    expect(grades(sound(limits(world("", { read: reads, heapBytes }))))).toEqual(expected);
  });
});

describe("NATS", () => {
  const text = "bus: { servers: 'nats://bob:secret@127.0.0.1:4222', secretFile: /s }";

  it("that answers is well, and so is none; its password is not shown", async () => {
    expect(grades(sound(await bus(world(text))))).toEqual(["ok"]);
    expect(grades(sound(await bus(world(""))))).toEqual(["ok"]);
    expect(JSON.stringify(await bus(world(text)))).not.toContain("secret@");
  });

  it("that does not answer is a problem, and unsigned events are a warning", async () => {
    const openBus = () => Promise.reject(new Error("ECONNREFUSED"));
    expect(grades(sound(await bus(world("bus: nats://127.0.0.1:4222", { openBus }))))).toEqual(["problem", "warning"]);
  });
});

describe("store and clock", () => {
  const yes = async (program: string) => (program === "timedatectl" ? "yes\n" : undefined);
  const no = async (program: string) => (program === "timedatectl" ? "no\n" : undefined);
  const chrony =
    (offset: string, leap = "Normal") =>
    async (program: string) =>
      program === "chronyc" ? `A1,a,2,1.1,${offset},0,0,0,0,0,0,0,0,${leap}\n` : "yes\n";
  const openStore = (differenceMs: number | undefined) => async () => ({ differenceMs });

  it.each([
    ["ok", { run: yes }],
    ["warning", { run: no }],
    ["warning", {}],
    ["ok", { run: chrony("0.000123") }],
    ["warning", { run: chrony("-3.5") }],
    ["ok", { run: chrony("3.5", "Not synchronised") }], // then timedatectl is asked
    ["ok", { openStore: openStore(-20) }],
    ["warning", { openStore: openStore(20_000), run: yes }],
  ])("clock: %s", async (grade, given) => {
    expect(grades(sound(await storeAndClock(world("", given))))).toEqual(["ok", grade]);
  });

  it("a store that cannot be opened is a problem", async () => {
    const shut = () => Promise.reject(new Error("MongoDB: no server"));
    const found = sound(await storeAndClock(world("store: mongodb://127.0.0.1/t", { openStore: shut, run: yes })));
    expect(lines(found)[0]).toBe("problem: the store: MongoDB: no server");
  });
});

describe("app servers", () => {
  const shop = (uri: string, more = "") =>
    `services: [{ id: wine }]\nappServers: [{ id: shop, uri: '${uri}', services: [wine] }]\n${more}`;

  it.each([
    ["ok", shop("sip:10.0.0.5:5070"), {}],
    ["ok", "", {}],
    ["ok", shop("sip:shop.example"), { zone: { a: { "shop.example": ["10.0.0.5"] } } }],
    [
      "ok",
      shop("sips:shop.example"),
      {
        zone: {
          a: { "x.example": ["10.0.0.5"] },
          srv: { "_sips._tcp.shop.example": [{ name: "x.example", port: 1 }] },
        },
      },
    ],
    ["problem", shop("sip:shop.example"), {}],
    ["problem", shop("sip:10.0.0.5", "listen: [{ transport: udp, address: 10.0.0.2, allow: [192.0.2.0/24] }]"), {}],
    ["ok", shop("sip:10.0.0.5", "listen: [{ transport: udp, address: 10.0.0.2, allow: [10.0.0.0/24] }]"), {}],
    [
      "ok",
      shop("sip:10.0.0.5;transport=tcp", "listen: [{ transport: udp, address: 10.0.0.2, allow: [192.0.2.0/24] }]"),
      {},
    ],
  ])("are %s: %s", async (grade, text, given) => {
    expect(grades(sound(await appServers(world(text, given))))).toEqual([grade]);
  });
});

describe("the doctor", () => {
  const all = async (checks: Parameters<typeof diagnose>[2], withinMs = 1_000) => {
    const found = [];
    for await (const one of diagnose(world(""), withinMs, checks)) found.push(one);
    return found;
  };

  it("goes on where one check hangs or fails, and says so", async () => {
    const hangs = () => new Promise<never>(() => {});
    const throws = () => {
      throw new Error("broken");
    };
    const found = await all(
      [
        { id: "a", title: "a", look: hangs },
        { id: "b", title: "b", look: throws },
        { id: "c", title: "c", look: () => [ok("well")] },
      ],
      20,
    );
    expect(found.map(({ findings }) => grades(findings))).toEqual([["problem"], ["problem"], ["ok"]]);
  });

  it("has a name for each check, once", () => {
    expect(new Set(CHECKS.map(({ id }) => id)).size).toBe(CHECKS.length);
  });
});
