import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import type { Known } from "../../src/config/cross-check.ts";
import { defaultConfig, loadConfig, parseConfig } from "../../src/config/load.ts";
import { formatProblem } from "../../src/config/problems.ts";
import { authority, certificateFolder } from "../support/certificates.ts";

const NONE = { services: [], appServers: [], tariffs: [] };

/** The problems of a configuration, one text each, without the file's name. */
function problems(text: string, known?: Known): string[] {
  const config = parseConfig(text, "t.yaml", known);
  return config.ok ? [] : config.error.map((problem) => formatProblem(problem).replace(/^t\.yaml:?/, ""));
}

function config(text: string) {
  const read = parseConfig(text, "t.yaml");
  if (!read.ok) throw new Error(read.error.map(formatProblem).join("\n"));
  return read.value;
}

describe("a configuration (P4: works without any)", () => {
  it("has a default for everything", () => {
    const defaults = defaultConfig("/srv/here");
    expect(defaults.listen).toEqual([
      { transport: "udp", address: "127.0.0.1", port: 5060 },
      { transport: "tcp", address: "127.0.0.1", port: 5060 },
    ]);
    expect(defaults.data).toBe("/srv/here/data");
    expect(defaults.portal).toEqual({ domains: ["localhost"], realm: "localhost", ownUsers: [] });
    expect(defaults.authentication.algorithms).toEqual(["sha-256", "md5"]);
    expect(defaults.authentication.fromPassword).toBe("tls");
    expect(config("")).toEqual({ ...defaults, data: "./data" });
    expect(config("services:\nlimits:\n# nothing yet\n")).toEqual({ ...defaults, data: "./data" });
  });

  it("takes the first domain as realm", () => {
    expect(config("portal: { domains: [Portal.Example, other.example] }").portal).toEqual({
      domains: ["portal.example", "other.example"],
      realm: "portal.example",
      ownUsers: [],
    });
    expect(config("portal: { domain: a.example, realm: Shops }").portal).toEqual({
      domains: ["a.example"],
      realm: "Shops",
      ownUsers: [],
    });
  });

  it("takes domains with users of their own only from its domains, and not the realm of all others", () => {
    expect(config("portal: { domains: [a.example, B.example], ownUsers: [b.EXAMPLE] }").portal.ownUsers).toEqual([
      "b.example",
    ]);
    for (const other of ["c.example", "a.example"])
      expect(problems(`portal: { domains: [a.example, B.example], ownUsers: [${other}] }`)).toEqual([
        expect.stringContaining("portal.ownUsers"),
      ]);
  });

  it("takes listen addresses as text or with parts", () => {
    const text = `
listen:
  - udp:0.0.0.0
  - tcp:[::1]:5070
  - { transport: udp, address: 10.0.0.2, port: 0, advertised: "sip.portal.example:5080" }
  - { transport: tcp, address: 10.0.0.2, advertised: "[2001:db8::1]" }`;
    expect(config(text).listen).toEqual([
      { transport: "udp", address: "0.0.0.0", port: 5060 },
      { transport: "tcp", address: "::1", port: 5070 },
      { transport: "udp", address: "10.0.0.2", port: 0, advertised: { host: "sip.portal.example", port: 5080 } },
      { transport: "tcp", address: "10.0.0.2", port: 5060, advertised: { host: "2001:db8::1" } },
    ]);
  });

  it("knows an IPv6 address however it is written; a domain that is one stands in brackets, as in URIs", () => {
    const text = `
portal: { domain: "2001:DB8::1" }
listen:
  - tcp:[0:0:0:0:0:0:0:1]:5070
  - { transport: udp, address: "2001:0DB8:0::1" }
http: { listen: "[0:0::1]:8443" }`;
    const { portal, listen, http } = config(text);
    expect(portal).toEqual({ domains: ["[2001:db8::1]"], realm: "2001:db8::1", ownUsers: [] }); // passwords are hashed with the realm
    expect(listen.map(({ address }) => address)).toEqual(["::1", "2001:db8::1"]);
    expect(http.listen).toEqual({ address: "::1", port: 8443 });
  });

  it("takes amounts exactly as written, with and without quotes (decision 10)", () => {
    const { tariffs, services } = config(`
tariffs:
  - { id: a, currency: EUR, price: 0.10, setupFee: "0.30", cap: 100.000000001, minimum: 7 }
services:
  - { id: s, limits: { charge: 0.1, session: 20.00, day: 50.10, currency: EUR } }`);
    expect(tariffs[0]).toEqual({
      id: "a",
      currency: "EUR",
      price: "0.10",
      setupFee: "0.30",
      cap: "100.000000001",
      minimum: "7",
    });
    expect(services[0]?.limits).toEqual({ charge: "0.1", session: "20.00", day: "50.10", currency: "EUR" });
  });

  it("takes percentages exactly as written, with and without quotes", () => {
    const { taxes, settlement, services } = config(`
taxes: [{ id: vat, rate: 7.70 }, { id: low, rate: "2.6", included: true }]
settlement: { fee: { percent: 2.50, perSession: 0.10, currency: EUR }, timeShare: 33 }
services: [{ id: s, fee: { percent: "5" }, advice: true }]`);
    expect(taxes.map(({ rate, included }) => [rate, included])).toEqual([
      ["7.70", false],
      ["2.6", true],
    ]);
    expect(settlement).toEqual({ fee: { percent: "2.50", perSession: "0.10", currency: "EUR" }, timeShare: "33" });
    expect(services[0]).toMatchObject({ fee: { percent: "5" }, advice: true });
  });

  it("follows anchors and aliases", () => {
    const text = "x: &t lesson\n".replace("x: ", "data: ");
    expect(config(`${text}services: [{ id: a, tariff: *t }]`).services[0]?.tariff).toBe("lesson");
  });
});

describe("a mistake in a configuration names line, column, what was expected and what was found", () => {
  it.each<[string, string, string[]]>([
    [
      "a value that is none of those possible",
      "services:\n  - id: wine\n    fork: frist\n",
      ['3:11 services[0].fork: expected one of sequential, first, all; found "frist"'],
    ],
    [
      "a key with a slip of the pen",
      "services:\n  - id: wine\n    frok: first\n",
      ["3:5 services[0].frok: unknown key; did you mean fork?"],
    ],
    [
      "a fee for each session in no currency",
      "settlement:\n  fee: { perSession: 0.10 }\n",
      ["2:3 settlement.fee.currency: expected the currency of perSession, such as EUR; found nothing"],
    ],
    [
      "a share of more than everything",
      "settlement:\n  timeShare: 101\n",
      ['2:14 settlement.timeShare: expected a percentage from 0 to 100 in quotes, such as "5" or "2.5"; found "101"'],
    ],
    [
      "a tax twice",
      "taxes:\n  - { id: vat, rate: 19 }\n  - { id: vat, rate: 7 }\n",
      ['3:11 taxes[1].id: expected an id of its own; found "vat" a second time'],
    ],
    [
      "limits twice in one currency",
      'charging:\n  limits:\n    - { currency: EUR, day: "5" }\n    - { currency: EUR, charge: "5" }',
      ['4:19 charging.limits[1].currency: expected each currency once; found "EUR" a second time'],
    ],
    ["an unknown section", "limit:\n  calls: 5\n", ["1:1 limit: unknown key; did you mean limits?"]],
    [
      "a key that is like none",
      "drainS: 5\ntimers:\n  t1Ms: 500\n  heartbeat: 5\n",
      ["4:3 timers.heartbeat: unknown key; known here: t1Ms, t2Ms, t4Ms"],
    ],
    [
      "something missing",
      "appServers:\n  - id: shop\n    services: [wine]\n",
      ["2:5 appServers[0].uri: expected text; found nothing"],
    ],
    ["text for a number", "limits:\n  calls: many\n", ['2:10 limits.calls: expected a number; found "many"']],
    [
      "a fraction for a whole number",
      "limits:\n  calls: 1.5\n",
      ["2:10 limits.calls: expected a whole number; found 1.5"],
    ],
    [
      "a number that is too small",
      "limits: { calls: 0 }\n",
      ["1:18 limits.calls: expected a number of at least 1; found 0"],
    ],
    [
      "a number that is too large",
      "drainS: 1000000\n",
      ["1:9 drainS: expected a number of at most 86400; found 1000000"],
    ],
    [
      "text for true or false",
      "authentication:\n  legacyNoQop: yes please\n",
      ['2:16 authentication.legacyNoQop: expected true or false; found "yes please"'],
    ],
    [
      "a value for a list",
      "services: wine\n",
      ['1:11 services: expected a list (each entry on a line with "- "); found "wine"'],
    ],
    [
      "an API for other machines without encryption",
      "http:\n  listen: 0.0.0.0:8443\n",
      [
        "1:1 http.tls: expected cert and key, since other machines can reach this address (plain: true where a proxy before it has them); found nothing",
      ],
    ],
    [
      "an API without a port",
      "http: { listen: localhost }\n",
      [
        '1:17 http.listen: expected an IP address of this machine and a port, such as 127.0.0.1:8443; found "localhost"',
      ],
    ],
    ["a value for a section", "limits: 5\n", ["1:9 limits: expected a section of keys and values; found 5"]],
    ["a list for the whole", "- a\n", ["1:1: expected a section of keys and values; found a list"]],
    ["an empty list", "listen: []\n", ["1:9 listen: expected at least one address; found an empty list"]],
    [
      "an address that is none",
      "listen:\n  - udp:127.0.0.1:99999\n",
      [
        '2:5 listen[0]: expected an address such as udp:127.0.0.1:5060 or tcp:[::1]:5060 (udp, tcp, tls, ws, wss); found "udp:127.0.0.1:99999"',
      ],
    ],
    [
      "a name for an address",
      "listen: [udp:localhost]\n",
      [
        '1:10 listen[0]: expected an IP address of this machine instead of a name, such as udp:127.0.0.1:5060; found "udp:localhost"',
      ],
    ],
    [
      "a listener for TLS without a certificate",
      "listen: [udp:0.0.0.0, wss:0.0.0.0]\n",
      ["1:23 listen[1]: expected tls.cert and tls.key, which wss needs"],
    ],
    [
      "a transport that nobody knows",
      "listen: [sctp:0.0.0.0]\n",
      [
        '1:10 listen[0]: expected an address such as udp:127.0.0.1:5060 or tcp:[::1]:5060 (udp, tcp, tls, ws, wss); found "sctp:0.0.0.0"',
      ],
    ],
    [
      "an app server that cannot be reached",
      "services: [{ id: a }]\nappServers: [{ id: b, uri: 'sips:10.0.0.5;transport=udp', services: [a] }]\n",
      [
        "2:28 appServers[0].uri: expected a URI that can be reached; found sips:10.0.0.5;transport=udp: a sips URI cannot be reached by udp",
      ],
    ],
    [
      "a certificate without a key",
      "tls: { cert: a.pem }\n",
      ["1:6 tls: expected cert and key together; found a section of keys and values"],
    ],
    [
      "trusted names that nothing proves",
      "tls: { trustedNames: [a.example] }\n",
      ["1:1 tls.clientCa: expected the authorities whose certificates prove trustedNames; found nothing"],
    ],
    [
      "an origin that is none",
      "webSocket: { origins: [shop.example] }\n",
      ['1:24 webSocket.origins[0]: expected the origin of a page, such as https://shop.example; found "shop.example"'],
    ],
    [
      "a number for an address",
      "listen: [5060]\n",
      [
        "1:10 listen[0]: expected an address such as udp:127.0.0.1:5060 or tcp:[::1]:5060 (udp, tcp, tls, ws, wss); found 5060",
      ],
    ],
    [
      "a part of an address",
      "listen:\n  - transport: udp\n    address: here\n",
      ['3:14 listen[0].address: expected an IP address of this machine; found "here"'],
    ],
    [
      "an unknown part of an address",
      "listen:\n  - transport: udp\n    adress: 127.0.0.1\n",
      [
        "2:5 listen[0].address: expected text; found nothing",
        "3:5 listen[0].adress: unknown key; did you mean address?",
      ],
    ],
    [
      "an address twice",
      "listen:\n  - udp:127.0.0.1\n  - udp:127.0.0.1:5060\n",
      ['3:5 listen[1]: expected each address once; found "udp:127.0.0.1:5060" a second time'],
    ],
    [
      "an IPv6 address twice",
      "listen:\n  - udp:[::1]\n  - udp:[0:0:0:0:0:0:0:1]:5060\n",
      ['3:5 listen[1]: expected each address once; found "udp:::1:5060" a second time'],
    ],
    [
      "a bus of no kind, without its password",
      "bus: amqp://user:secret@localhost\n",
      [
        '1:6 bus: expected embedded, or the URL of a NATS server such as nats://127.0.0.1:4222 or tls://nats.example:4222; found "amqp://***@localhost"',
      ],
    ],
    [
      "settings of a bus",
      "bus:\n  servers: nats://localhost\n  passwrd: x\n  token: 17\n  tls: { cert: a.pem }\n",
      [
        "3:3 bus.passwrd: unknown key; did you mean password?",
        "4:10 bus.token: expected text; found something else (not shown here)",
        "5:8 bus.tls: expected cert and key together, or neither; found a section of keys and values",
      ],
    ],
    [
      "two ways to sign in to the bus",
      "bus: { servers: nats://localhost, token: x, nkeyFile: y }\n",
      [
        "1:6 bus: expected one way to sign in: password, token, credentialsFile or nkeyFile; found a section of keys and values",
      ],
    ],
    [
      "billing elsewhere without a bus and a store to meet at",
      "roles: [relay]\n",
      [
        "1:8 roles: expected relay and billing; found relay alone, which needs bus: nats://...",
        "1:8 roles: expected relay and billing; found relay alone, which needs store: mongodb://... (the embedded one is of one machine)",
      ],
    ],
    [
      "a store of no kind",
      "store: sqlite\n",
      ['1:8 store: expected embedded, or a URL such as mongodb://127.0.0.1:27017/tollgate; found "sqlite"'],
    ],
    [
      "a store with a password in a wrong URL, which is not repeated",
      "store: mongo://alice:secret@localhost\n",
      [
        '1:8 store: expected embedded, or a URL such as mongodb://127.0.0.1:27017/tollgate; found "mongo://***@localhost"',
      ],
    ],
    [
      "a store whose URL takes back what is promised",
      "store: mongodb://alice:secret@localhost/x?journal=false\n",
      [
        '1:8 store: expected a URL without journal=false: writes are confirmed when they are on disk; found "mongodb://***@localhost/x?journal=false"',
      ],
    ],
    [
      "events that come again after what they made is forgotten",
      "bus: { servers: ['nats://localhost'], maxAgeS: 9000000 }\nretention: { entriesMonths: 3, accountsDays: 40 }\n",
      [
        "2:29 retention.entriesMonths: expected 4 months or more, since bus.maxAgeS keeps events for 105 days; found 3",
        "2:46 retention.accountsDays: expected 105 days or more, since bus.maxAgeS keeps events for 105 days; found 40",
      ],
    ],
    [
      "what would be forgotten while it is needed",
      "retention: { entriesMonths: 2, accountsDays: 30, eventsMonths: 0 }\n",
      [
        "1:29 retention.entriesMonths: expected a number of at least 3; found 2",
        "1:46 retention.accountsDays: expected a number of at least 40; found 30",
        "1:64 retention.eventsMonths: expected a number of at least 3; found 0",
      ],
    ],
    [
      "a store with half of what it takes",
      "store:\n  url: mongodb://localhost\n  passwordFile: pw\n  tls: { cert: a }\n  database: x\n",
      [
        '3:17 store.passwordFile: expected user beside it; found "pw"',
        "4:8 store.tls: expected cert and key together, or neither; found a section of keys and values",
        "5:3 store.database: unknown key; known here: url, user, passwordFile, tls, timeoutS, maxClockDifferenceS",
      ],
    ],
    [
      "domain and domains",
      "portal:\n  domain: a\n  domains: [b]\n",
      ["2:3 portal: expected either domain or domains, not both; found a section of keys and values"],
    ],
    [
      "an algorithm twice",
      "authentication: { algorithms: [md5, md5] }\n",
      ["1:31 authentication.algorithms: expected each algorithm once; found a list"],
    ],
    [
      "an amount that is none",
      "tariffs:\n  - id: a\n    currency: EUR\n    price: 1e3\n",
      ['4:12 tariffs[0].price: expected a decimal amount in quotes, such as "0.25"; found "1e3"'],
    ],
    [
      "a currency that is none",
      "tariffs:\n  - id: a\n    currency: Euro\n",
      ['3:15 tariffs[0].currency: expected an ISO 4217 currency code such as EUR; found "Euro"'],
    ],
    [
      "a URI that is none",
      "appServers:\n  - { id: a, uri: 10.0.0.1, services: [x] }\n",
      [
        '2:19 appServers[0].uri: expected a SIP URI such as sip:10.0.0.5:5060;transport=tcp, or a URL such as https://shop.example/tollgate; found "10.0.0.1"',
      ],
    ],
    [
      "a transport that ends within the relay",
      "listen: [http:127.0.0.1:5060]\nappServers:\n  - { id: a, uri: sip:10.0.0.1;transport=http, services: [x] }\n",
      [
        '1:10 listen[0]: expected an address such as udp:127.0.0.1:5060 or tcp:[::1]:5060 (udp, tcp, tls, ws, wss); found "http:127.0.0.1:5060"',
        '3:19 appServers[0].uri: expected a SIP URI with one of the transports udp, tcp, tls, ws, wss; found "sip:10.0.0.1;transport=http"',
      ],
    ],
    [
      "a URL with a password",
      "appServers:\n  - { id: a, uri: 'https://me:secret@shop.example/', services: [x] }\n",
      [
        '2:19 appServers[0].uri: expected a URL such as https://shop.example/tollgate, without user, password and fragment; found "https://***@shop.example/"',
      ],
    ],
    [
      "a URL that anybody on the way can read, and no key to sign with",
      "services: [{ id: x }]\nappServers:\n  - { id: a, uri: 'http://shop.example/', services: [x] }\n",
      [
        '3:19 appServers[0].uri: expected https, since others could read and change what goes over the net; found "http://shop.example/"',
        "3:19 appServers[0].uri: expected identity.url, since requests to http://shop.example/ are signed with the portal's key",
      ],
    ],
    [
      "an id twice",
      "services:\n  - id: wine\n  - id: wine\n",
      ['3:9 services[1].id: expected an id of its own; found "wine" a second time'],
    ],
    [
      "a pattern that is none",
      'rules:\n  - name: a\n    when:\n      uri: "sip:(.*"\n    then: {}\n',
      [
        '4:12 rules[0].when.uri: expected a regular expression (/^(?:sip:(.*)$/su: Unterminated group); found "sip:(.*"',
      ],
    ],
    [
      "a group that is not there",
      'rules:\n  - name: a\n    when: { uri: "sip:.*" }\n    then:\n      service: $1\n',
      ['5:16 rules[0].then.service: expected a group that the uri pattern has (it has 0); found "$1"'],
    ],
    [
      "a header that holds a credential",
      "rules:\n  - name: a\n    when:\n      header:\n        From: .*\n    then: {}\n",
      [
        '5:15 rules[0].when.header.From: expected a header that holds no credential (use `from` for the URI of From); found "From"',
      ],
    ],
    [
      "a status that refuses nothing",
      "rules:\n  - { name: a, then: { reject: 200 } }\n",
      ["2:32 rules[0].then.reject: expected a number of at least 400; found 200"],
    ],
    [
      "what is no YAML",
      "services:\n  - id: [wine\n",
      ["3:1: not YAML: Flow sequence in block collection must be sufficiently indented and end with a ]"],
    ],
    ["a key twice", "drainS: 1\ndrainS: 2\n", ["2:1: not YAML: Map keys must be unique"]],
  ])("%s", (_what, text, expected) => {
    expect(problems(text)).toEqual(expected);
  });

  it("lists every mistake, in the order of the file", () => {
    expect(
      problems("drainS: x\nservices:\n  - id: wine\n    fork: x\nlimits:\n  cals: 5\n").map(
        (line) => line.split(":")[0],
      ),
    ).toEqual(["1", "4", "6"]);
  });

  it("points into what an alias stands for", () => {
    expect(problems("services:\n  - &s\n    id: a\n    fork: x\n")[0]).toMatch(/^4:11 services\[0\]\.fork/);
    expect(problems("data: &f frist\nservices:\n  - { id: a, fork: *f }\n")[0]).toMatch(/^1:10 services\[0\]\.fork/);
  });

  it("says that the file cannot be read", () => {
    const read = loadConfig("/nowhere/tollgate.yaml");
    expect(read.ok).toBe(false);
    if (!read.ok) expect(formatProblem(read.error[0]!)).toMatch(/^\/nowhere\/tollgate\.yaml: cannot be read: ENOENT/);
  });
});

describe("names in a configuration", () => {
  const text = `
services:
  - { id: wine, tariff: lessen }
appServers:
  - { id: shop, uri: "sip:127.0.0.1", services: [wine, beer] }
rules:
  - name: r
    then: { service: wines, tariff: flat, appServers: [shop, other] }
  - name: s
    then: { service: "{uri.user}" }
tariffs:
  - { id: lesson, currency: EUR }`;

  it("may be names in the store, as long as that is not at hand", () => {
    expect(problems(text)).toEqual([]);
  });

  it("are mistakes when they are neither here nor in the store", () => {
    expect(problems(text, NONE)).toEqual([
      '3:25 services[0].tariff: expected the id of a tariff; found "lessen", did you mean lesson?',
      '5:56 appServers[0].services[1]: expected the id of a service; found "beer", there is none of that name here or in the store',
      '8:22 rules[0].then.service: expected the id of a service; found "wines", did you mean wine?',
      '8:37 rules[0].then.tariff: expected the id of a tariff; found "flat", there is none of that name here or in the store',
      '8:62 rules[0].then.appServers[1]: expected the id of an app server; found "other", there is none of that name here or in the store',
    ]);
    const known = {
      services: [{ id: "beer" }, { id: "wines" }],
      appServers: [{ id: "other" }],
      tariffs: ["flat", "lessen"].map((id) => ({ id, currency: "EUR" })),
    };
    expect(problems(text, known)).toEqual([]);
  });
});

describe("files", () => {
  it("the example configuration has no mistake, and no name that is not in it", () => {
    const example = loadConfig(new URL("../../ops/tollgate.yaml", import.meta.url).pathname, NONE);
    expect(example.ok ? [] : example.error.map(formatProblem)).toEqual([]);
  });

  describe("limits in another currency than the tariff's", () => {
    const tariffs = "tariffs: [{ id: lesson, currency: EUR }, { id: dollars, currency: USD }]\n";
    const found = (text: string, known?: Known) =>
      problems(tariffs + text, known).map((text) => text.replace(/^\d+:\d+ /, ""));
    const known = (over: Partial<Known>): Known => ({ ...NONE, ...over });
    const inDollars = { id: "wine", limits: { currency: "USD", session: "5" } };

    it.each([undefined, NONE])("are a mistake, with or without the store", (known) => {
      expect(
        found("services:\n  - id: wine\n    tariff: lesson\n    limits: { session: 5, currency: USD }\n", known),
      ).toEqual(['services[0].limits.currency: expected EUR, the currency of its tariff lesson; found "USD"']);
      expect(
        found("services: [{ id: wine, tariff: dollars, limits: { session: 5, currency: USD } }]\n", known),
      ).toEqual([]);
      expect(found("services: [{ id: wine, limits: { session: 5, currency: USD } }]\n", known)).toEqual([]);
    });

    it("are one too where a rule brings the two together", () => {
      const services = "services: [{ id: wine, limits: { currency: USD } }]\n";
      expect(found(`${services}rules: [{ name: a, then: { service: wine, tariff: lesson } }]\n`)).toEqual([
        'rules[0].then.tariff: expected a tariff in USD, the currency of the limits of wine; found "lesson", which is in EUR',
      ]);
      expect(found(`${services}rules: [{ name: a, then: { service: wine, tariff: dollars } }]\n`)).toEqual([]);
      expect(
        found(`${services}rules: [{ name: a, when: { uri: "sip:(.*)" }, then: { service: $1, tariff: lesson } }]\n`),
      ).toEqual([]);
    });

    it("are one where one of the two is in the store", () => {
      expect(found("", known({ services: [{ ...inDollars, tariff: "lesson" }] }))).toEqual([
        'tariffs[0].currency: expected USD, the currency of the limits of the service wine in the store; found "EUR" in its tariff lesson',
      ]);
      const text = "services: [{ id: wine, tariff: yen, limits: { currency: USD } }]\n";
      expect(found(text, known({ tariffs: [{ id: "yen", currency: "JPY" }] }))).toEqual([
        'services[0].limits.currency: expected JPY, the currency of its tariff yen; found "USD"',
      ]);
      // The file's wins over the same id in the store.
      expect(found("", known({ tariffs: [{ id: "lesson", currency: "USD" }] }))).toEqual([]);
      const own = "services: [{ id: wine, tariff: lesson, limits: { currency: EUR } }]\n";
      expect(found(own, known({ services: [{ ...inDollars, tariff: "lesson" }] }))).toEqual([]);
    });
  });

  it("a relative data folder is seen from the file's folder", () => {
    const folder = mkdtempSync(join(tmpdir(), "tollgate-config-"));
    try {
      writeFileSync(join(folder, "t.yaml"), "data: state\n");
      const read = loadConfig(join(folder, "t.yaml"));
      expect(read.ok && read.value.data).toBe(join(folder, "state"));
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});

describe("the files of TLS", () => {
  const ca = authority();
  const own = certificateFolder(["DNS:portal.example"], ca);
  const other = certificateFolder();
  const expired = certificateFolder([], ca);
  expired.write(ca.issue({ to: new Date(Date.now() - 86_400_000) }));
  const loaded = (tls: object) => {
    const file = join(own.folder, "tollgate.yaml");
    const lines = Object.entries(tls).map(
      ([name, path]) => `  ${name}: ${path}
`,
    );
    writeFileSync(
      file,
      `portal: { domain: a.example }
tls:
${lines.join("")}`,
    );
    const read = loadConfig(file);
    return read.ok ? read.value.tls : read.error.map((one) => formatProblem(one).replace(file, ""));
  };

  it("count from the configuration's folder", () => {
    expect(loaded({ cert: "cert.pem", key: "key.pem", ca: "ca.pem", clientCa: "ca.pem" })).toEqual({
      cert: own.cert,
      key: own.key,
      ca: own.ca,
      clientCa: own.ca,
      trustedNames: [],
    });
  });

  it.each<[what: string, tls: object, problem: RegExp]>([
    ["that are missing", { cert: "no.pem", key: "key.pem" }, /^:3:9 tls\.cert: cannot be read: ENOENT/],
    [
      "of which the key does not fit",
      { cert: "cert.pem", key: other.key },
      /^:4:8 tls\.key: .*this key does not fit the certificate in .*cert\.pem$/,
    ],
    [
      "of which the certificate has expired",
      { cert: expired.cert, key: expired.key },
      /^:3:9 tls\.cert: .*has expired on /,
    ],
    ["with no certificate in them", { cert: "key.pem", key: "key.pem" }, /^:3:9 tls\.cert: .*holds no certificate/],
    ["with no key in them", { cert: "cert.pem", key: "cert.pem" }, /^:4:8 tls\.key: .*is no private key/],
    ["with no authority in them", { clientCa: "key.pem" }, /^:3:13 tls\.clientCa: .*holds no certificate/],
  ])("are refused, with the place: those %s", (_what, tls, problem) => {
    expect(loaded(tls)).toEqual([expect.stringMatching(problem)]);
  });
});
