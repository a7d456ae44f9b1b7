// biome-ignore-all lint/suspicious/noThenProperty: a rule says when and then
import { describe, expect, it } from "vitest";
import type { Tariff } from "../../src/charging/money/tariff.ts";
import { compileRules, type RuleLookups } from "../../src/directory/rules.ts";
import type { Rule, Service } from "../../src/directory/types.ts";
import { Headers, SipRequest } from "../../src/sip/message.ts";
import { canonicalHost } from "../../src/support/address.ts";

const services: Service[] = [
  { id: "wine", tariff: "flat" },
  { id: "beer", fork: "first" },
  { id: "café" },
  { id: "broken", tariff: "gone" },
];
const tariffs: Tariff[] = [
  { id: "flat", currency: "EUR" },
  { id: "dear", currency: "EUR", price: "9" },
];
const lookups: RuleLookups = {
  service: (id) => services.find((service) => service.id === id),
  tariff: (id) => tariffs.find((tariff) => tariff.id === id),
  isPortal: (host) => ["portal.com", "127.0.0.1"].includes(canonicalHost(host)),
  portalDomains: ["portal.com"],
  ruleBodyBytes: 1000,
};

interface Parts {
  uri?: string;
  from?: string;
  headers?: [string, string][];
  type?: string;
  body?: string;
}

function request({
  uri = "sip:wine@portal.com",
  from = "<sip:alice@portal.com>;tag=1",
  headers = [],
  type,
  body = "",
}: Parts = {}): SipRequest {
  const all = new Headers().add("From", from);
  for (const [name, value] of headers) all.add(name, value);
  if (type !== undefined) all.add("Content-Type", type);
  return new SipRequest("INVITE", uri, all, Buffer.from(body));
}

function identify(rules: readonly Rule[], parts?: Parts, more: Partial<RuleLookups> = {}) {
  const compiled = compileRules(rules);
  if (!compiled.ok) throw new Error(JSON.stringify(compiled.error));
  return compiled.value.identify(request(parts), { ...lookups, ...more });
}

const xml = (text: string) => ({ type: "application/xml", body: text });

describe("without rules the Request-URI names the service (M1)", () => {
  it("sip:service@portal is that service, with its tariff and its way to ask several servers", () => {
    expect(identify([])).toEqual({
      ok: true,
      value: { service: services[0], tariff: tariffs[0], fork: "sequential", attributes: {}, client: {} },
    });
    expect(identify([], { uri: "sips:beer@PORTAL.com:5061;transport=tcp" })).toMatchObject({
      ok: true,
      value: { service: services[1], fork: "first" },
    });
  });

  it("a body of our own type that names a service says it in more detail (M1, M20); any other is not looked at", () => {
    const named = (type: string, body: string) => identify([], { type, body });
    const SERVICE = "application/vnd.tollgate.service+xml";
    expect(named(`${SERVICE}; charset=utf-8`, '<service name="beer"/>')).toMatchObject({
      ok: true,
      value: { service: { id: "beer" } },
    });
    expect(named(SERVICE, '<service name="rum"/>')).toMatchObject({ ok: false, error: { status: 404 } });
    for (const [type, body] of [
      [SERVICE, "<beer/>"],
      [SERVICE, "<service"],
      ["application/xml", '<service name="beer"/>'],
    ] as const)
      expect(named(type, body)).toMatchObject({ ok: true, value: { service: { id: "wine" } } });
  });

  it("an escaped or non-ASCII user part is read as people write it", () => {
    expect(identify([], { uri: "sip:w%69ne@127.0.0.1" })).toMatchObject({
      ok: true,
      value: { service: { id: "wine" } },
    });
    expect(identify([], { uri: "sip:caf%C3%A9@portal.com" })).toMatchObject({
      ok: true,
      value: { service: { id: "café" } },
    });
  });

  it.each([
    ["a service that nobody registered", "sip:cheese@portal.com", 404],
    ["no user part", "sip:portal.com", 404],
    ["another portal's domain", "sip:wine@elsewhere.com", 404],
    ["another scheme (RFC 3261 §8.2.2.1)", "tel:+1234", 416],
    ["no URI at all", "wine", 416],
    ["a tariff that is gone: it must not be free of charge", "sip:broken@portal.com", 500],
  ])("%s is refused", (_what, uri, status) => {
    expect(identify([], { uri })).toMatchObject({ ok: false, error: { status } });
  });
});

describe("rules (M3)", () => {
  it("decide in their order: the first whose every condition holds", () => {
    const rules: Rule[] = [
      { name: "both", when: { uri: "sip:x@.*", from: "sip:bob@.*" }, then: { service: "wine" } },
      { name: "uri", when: { uri: "sip:x@.*" }, then: { service: "beer" } },
      { name: "late", when: { uri: "sip:x@portal.com" }, then: { service: "wine" } },
    ];
    expect(identify(rules, { uri: "sip:x@portal.com" })).toMatchObject({
      ok: true,
      value: { rule: "uri", service: { id: "beer" } },
    });
    expect(identify(rules, { uri: "sip:x@portal.com", from: "Bob <sip:bob@portal.com>;tag=1" })).toMatchObject({
      ok: true,
      value: { rule: "both" },
    });
  });

  it("answer 404 where none holds, and 416 where the URI is none of SIP", () => {
    const rules: Rule[] = [{ name: "a", when: { uri: "sip:x@.*" }, then: { service: "wine" } }];
    expect(identify(rules)).toMatchObject({ ok: false, error: { status: 404 } });
    expect(identify(rules, { uri: "tel:1" })).toMatchObject({ ok: false, error: { status: 416 } });
  });

  it("can give a service to a URI of any scheme and domain", () => {
    const rules: Rule[] = [{ name: "a", when: { uri: "tel:\\+800.*|sip:x@elsewhere.com" }, then: { service: "wine" } }];
    expect(identify(rules, { uri: "tel:+80012" }).ok).toBe(true);
    expect(identify(rules, { uri: "sip:x@elsewhere.com" }).ok).toBe(true);
  });

  it("without a service take the one that the Request-URI names", () => {
    const rules: Rule[] = [{ name: "all", when: {}, then: { attributes: { via: "all" } } }];
    expect(identify(rules)).toMatchObject({ ok: true, value: { service: { id: "wine" }, attributes: { via: "all" } } });
    expect(identify(rules, { uri: "sip:wine@elsewhere.com" })).toMatchObject({ ok: false, error: { status: 404 } });
  });

  it("match any header, in each of its lines", () => {
    const rules: Rule[] = [
      { name: "a", when: { header: { "X-Class": "gold", subject: "(?:wein|vin)" } }, then: { service: "wine" } },
    ];
    expect(
      identify(rules, {
        headers: [
          ["X-Class", "tin"],
          ["x-class", "gold"],
          ["Subject", "vin"],
        ],
      }).ok,
    ).toBe(true);
    expect(
      identify(rules, {
        headers: [
          ["X-Class", "gold"],
          ["Subject", "eau"],
        ],
      }).ok,
    ).toBe(false);
    expect(identify(rules, { headers: [["Subject", "vin"]] }).ok).toBe(false);
  });

  it("match fields of an XML or a JSON body by path", () => {
    const rules: Rule[] = [
      {
        name: "a",
        when: { body: { "request.category": "wine|spirits", "request.@lang": "e[ns]" } },
        then: { service: "wine" },
      },
    ];
    expect(identify(rules, xml('<request lang="en"><category>wine</category></request>')).ok).toBe(true);
    expect(identify(rules, xml('<request lang="de"><category>wine</category></request>')).ok).toBe(false);
    expect(identify(rules, xml("<request><category>wine</category></request>")).ok).toBe(false);
    expect(
      identify(rules, { type: "application/json", body: '{"request":{"category":"spirits","@lang":"es"}}' }).ok,
    ).toBe(true);
    expect(identify(rules, { type: "application/sdp", body: "v=0" })).toMatchObject({
      ok: false,
      error: { status: 404 },
    });
    expect(identify(rules)).toMatchObject({ ok: false, error: { status: 404 } });
  });

  it("find the description within a body of several parts", () => {
    const rules: Rule[] = [{ name: "a", when: { body: { "request.category": "wine" } }, then: { service: "wine" } }];
    const part = (type: string, text: string) => `--b\r\nContent-Type: ${type}\r\n\r\n${text}\r\n`;
    const body = `${part("application/sdp", "v=0")}${part("application/xml;charset=utf-8", "<request><category>wine</category></request>")}--b--\r\n`;
    expect(identify(rules, { type: "multipart/mixed;boundary=b", body }).ok).toBe(true);
    expect(identify(rules, { type: "multipart/mixed;boundary=b", body: part("application/sdp", "v=0") })).toMatchObject(
      {
        ok: false,
        error: { status: 400 },
      },
    );
  });

  it("answer 400 to more fields than they look at: the one that counts may stand behind them", () => {
    const rules: Rule[] = [
      { name: "no casino", when: { body: { "order.item": "casino" } }, then: { reject: 403 } },
      { name: "rest", when: {}, then: {} },
    ];
    const order = (before: number) => ({
      type: "application/json",
      body: JSON.stringify({ order: { item: [...new Array<number>(before).fill(0), "casino"] } }),
    });
    const usual = { ruleBodyBytes: 16_384 };
    expect(identify(rules, order(4_095), usual)).toMatchObject({ error: { status: 403 } });
    for (const before of [4_096, 5_000])
      expect(identify(rules, order(before), usual)).toEqual({
        ok: false,
        error: { status: 400, reason: "Body Has Too Many Fields" },
      });
  });

  it("answer 400 to a body that they need and cannot read", () => {
    const rules: Rule[] = [
      { name: "a", when: { body: { "request.category": "wine" } }, then: { service: "wine" } },
      { name: "b", when: {}, then: {} },
    ];
    expect(identify(rules.slice(0, 1), xml("<request>"))).toMatchObject({ ok: false, error: { status: 400 } });
    expect(identify(rules, xml("<request>"))).toEqual({ ok: false, error: { status: 400, reason: "Body Is Not XML" } });
    expect(identify(rules, xml("<!DOCTYPE x><x/>"))).toEqual({
      ok: false,
      error: { status: 400, reason: "XML Body With DOCTYPE" },
    });
    expect(identify(rules, xml(`<x>${"y".repeat(1000)}</x>`))).toEqual({
      ok: false,
      error: { status: 400, reason: "Body Too Large" },
    });
  });

  it("leave a body alone that no rule asks for", () => {
    const rules: Rule[] = [
      { name: "a", when: { uri: "sip:x@.*", body: { a: "b" } }, then: { service: "wine" } },
      { name: "b", when: {}, then: {} },
    ];
    expect(identify(rules, xml("<request>"))).toMatchObject({ ok: true, value: { rule: "b" } });
  });

  it("fill in groups, headers, body fields and parts of URIs", () => {
    const rules: Rule[] = [
      {
        name: "a",
        when: { uri: "sip:shop-(\\w+)@.*" },
        then: {
          service: "$1",
          attributes: {
            colour: "{body.request.colour}",
            both: "{uri.user} at {uri.host}",
            braces: "{{$$1}}",
            missing: "x{header.X-None}",
          },
          client: { agent: "{header.User-Agent}", name: "{from.user}", home: "{from.host}" },
        },
      },
    ];
    const parts = {
      uri: "sip:shop-wine@portal.com",
      from: "<sip:al%69ce:secret@home.com>;tag=1",
      headers: [["User-Agent", "phone 1"]] as [string, string][],
    };
    expect(identify(rules, { ...parts, ...xml("<request><colour>red</colour></request>") })).toEqual({
      ok: true,
      value: {
        rule: "a",
        service: services[0],
        tariff: tariffs[0],
        fork: "sequential",
        attributes: { colour: "red", both: "shop-wine at portal.com", braces: "{$1}" },
        client: { agent: "phone 1", name: "alice", home: "home.com" },
      },
    });
  });

  it("bound what they make of a request", () => {
    const rules: Rule[] = [{ name: "a", when: {}, then: { attributes: { long: "{header.Subject}" } } }];
    const found = identify(rules, { headers: [["Subject", "x".repeat(5000)]] });
    expect(found.ok && found.value.attributes.long).toHaveLength(1024);
  });

  it("never see the password that From may hold (M2)", () => {
    const rules: Rule[] = [
      { name: "leak", when: { from: ".*secret.*" }, then: { service: "beer" } },
      { name: "b", when: { from: "sips?:alice@portal.com(;.*)?" }, then: {} },
    ];
    expect(identify(rules, { from: "<sip:alice:secret@portal.com;x=1>;tag=1" })).toMatchObject({
      ok: true,
      value: { rule: "b" },
    });
  });

  it("choose app servers, fork mode and tariff, or refuse", () => {
    const then = { service: "wine", appServers: ["shop"], fork: "all", tariff: "dear" } as const;
    expect(identify([{ name: "a", when: {}, then }])).toMatchObject({
      ok: true,
      value: { appServers: ["shop"], fork: "all", tariff: tariffs[1] },
    });
    expect(identify([{ name: "a", when: {}, then: { reject: 403 } }])).toMatchObject({
      ok: false,
      error: { status: 403 },
    });
    expect(identify([{ name: "a", when: {}, then: { tariff: "gone" } }])).toMatchObject({
      ok: false,
      error: { status: 500 },
    });
  });

  it("give no chance to what a client puts into a service's name", () => {
    const rules: Rule[] = [{ name: "a", when: {}, then: { service: "{header.Subject}" } }];
    for (const name of ["__proto__", "constructor", "", "cheese"]) {
      expect(identify(rules, { headers: [["Subject", name]] })).toMatchObject({ ok: false, error: { status: 404 } });
    }
    expect(identify(rules)).toMatchObject({ ok: false, error: { status: 404 } });
  });
});

describe("mistakes in rules", () => {
  it("are all listed, each with its place", () => {
    const compiled = compileRules([
      {
        name: "a",
        when: { uri: "(", header: { Authorization: ".*", "bad name": "x" }, body: { "a..b": "(?=x)" } },
        then: { service: "$1" },
      },
      {
        name: "b",
        when: { uri: "sip:(.*)@.*" },
        then: { service: "$2", attributes: { x: "{nothing}", y: "{body.}" } },
      },
    ]);
    expect(compiled.ok ? [] : compiled.error.map((problem) => problem.path.join("."))).toEqual([
      "0.when.uri",
      "0.when.header.Authorization",
      "0.when.header.bad name",
      "0.when.body.a..b",
      "0.when.body.a..b",
      "0.then.service",
      "1.then.service",
      "1.then.attributes.x",
      "1.then.attributes.y",
    ]);
  });
});

describe("a rule sees what is meant, however it is written", () => {
  const casino: Rule[] = [
    { name: "closed", when: { uri: "sips?:casino@.*" }, then: { reject: 403 } },
    { name: "by name", when: {}, then: {} },
  ];
  const closed = (uri: string, rules: readonly Rule[] = casino) => {
    const found = identify(rules, { uri });
    return found.ok ? found.value.service.id : found.error.status;
  };

  it.each([
    "sip:casino@portal.com",
    "SIP:casino@portal.com",
    "sips:casino@portal.com",
    "sip:%63asino@portal.com",
    "sip:%63%61%73%69%6E%6f@portal.com",
    "sip:casin%6F@portal.com",
    "sip:casino:secret@portal.com",
    "sip:casino@PORTAL.COM",
    "sip:casino@portal.com.:5060;transport=tcp",
    "sip:casino@portal.com;x=y;lr",
    "sip:casino@127.0.0.1:5061",
  ])("%s (RFC 3261 §19.1.4)", (uri) => {
    expect(closed(uri)).toBe(403);
  });

  it.each([
    "sip:beer@portal.com",
    "sip:beer@portal.com:5060",
    "sip:beer@portal.com;x=casino",
    "sip:beer:casino@portal.com",
  ])("%s, and is no other", (uri) => {
    expect(closed(uri)).toBe("beer");
  });

  const exact = (uri: string) => [{ name: "a", when: { uri }, then: { reject: 410 } }, ...casino];

  it.each([
    ["sip:beer@portal\\.com", "sip:beer@portal.com;user=phone"],
    ["sip:beer@portal\\.com", "sip:beer@portal.com:5070"],
    ["sip:beer@portal\\.com:5070", "sip:beer@portal.com:5070"],
    ["sip:beer@portal\\.com(:\\d{1,5})?", "sip:beer@portal.com:5070"],
    ["sip:beer@portal\\.com", "sips:beer@portal.com"],
    ["sips:beer@portal\\.com", "sips:beer@portal.com:5061"],
    ["sip:beer@portal\\.com", "sip:beer@127.0.0.1"],
    ["sip:beer@127\\.0\\.0\\.1", "sip:beer@127.0.0.1:5062"],
    ["sip:café@portal\\.com", "sip:caf%C3%A9@portal.com"],
    ["sip:café@portal\\.com", "sip:caf\u00c3\u00a9@portal.com"],
    ["sip:caf%E9@portal\\.com", "sip:caf%e9@portal.com"],
    ["sip:caf%E9@portal\\.com", "sip:caf\u00e9@portal.com"],
    ["sip:a%40b@portal\\.com", "sip:a%40b@portal.com"],
    ["sip:a%25b@portal\\.com", "sip:%61%25b@portal.com"],
    ["sip:a;b@portal\\.com", "sip:a%3Bb@portal.com"],
    ["sip:portal\\.com", "sip:portal.com;lr"],
    ["sip:x@\\[2001:db8::1\\]:5070", "sip:x@[2001:DB8:0::1]:5070;lr"],
    ["sip:x@elsewhere\\.com:5070", "sip:x@Elsewhere.com:5070"],
    ["sip:x@elsewhere\\.com", "sip:x@elsewhere.com:5060"],
  ])("a pattern %s is for %s", (pattern, uri) => {
    expect(closed(uri, exact(pattern))).toBe(410);
  });

  it.each([
    ["sips:beer@portal\\.com", "sip:beer@portal.com", "beer"],
    ["sip:x@elsewhere\\.com", "sip:x@elsewhere.com:5070", 404],
    ["sip:%62eer@portal\\.com", "sip:%62eer@portal.com", "beer"],
  ])("a pattern %s is not for %s", (pattern, uri, outcome) => {
    expect(closed(uri, exact(pattern))).toBe(outcome);
  });

  it("and takes the service from what it has seen", () => {
    const rules: Rule[] = [{ name: "a", when: { uri: "sip:shop-([a-z]+)@portal\\.com" }, then: { service: "$1" } }];
    expect(closed("SIP:%73hop-%77ine:x@Portal.com:5070;a=b", rules)).toBe("wine");
  });

  it("refuses a URI that is too long to be seen", () => {
    const host = `${"a.".repeat(600)}com`;
    expect(closed(`sip:casino@${host}`)).toBe(414);
    expect(closed(`sip:wine@portal.com;x=${"a".repeat(2000)}`)).toBe("wine");
  });

  const inFrom: Rule[] = [
    {
      name: "a",
      when: { from: "sip:bob@portal\\.com" },
      then: { service: "wine", client: { f: "{from.user}@{from.host}" } },
    },
  ];

  it.each(["sip:bob@portal.com", "sips:%62ob:x@PORTAL.com:5061;user=phone"])("From %s is seen in one way", (from) => {
    expect(identify(inFrom, { from: `"x" <${from}>;tag=1` })).toMatchObject({
      ok: true,
      value: { client: { f: "bob@portal.com" } },
    });
  });

  it("headers are known by their compact names, and each line counts, alone and together (RFC 3261 §7.3)", () => {
    const rules = (header: Record<string, string>): Rule[] => [
      { name: "a", when: { header }, then: { reject: 403 } },
      { name: "b", when: {}, then: { client: { s: "{header.s}" } } },
    ];
    const headers: [string, string][] = [
      ["Subject", "tea"],
      ["s", "bad"],
    ];
    for (const name of ["s", "Subject", "SUBJECT"])
      for (const pattern of ["bad", "tea", "tea, bad"])
        expect(identify(rules({ [name]: pattern }), { headers })).toMatchObject({ error: { status: 403 } });
    expect(identify(rules({ s: "other" }), { headers })).toMatchObject({ ok: true, value: { client: { s: "tea" } } });
    const long: [string, string][] = [["Subject", `${"x".repeat(2000)}bad`]];
    expect(identify(rules({ s: ".*bad" }), { headers: long })).toMatchObject({ error: { status: 400 } });
    for (const name of ["f", "From", "authorization"]) expect(compileRules(rules({ [name]: "x" })).ok).toBe(false);
  });
});

describe("a field of a body is seen wherever it stands", () => {
  const rules: Rule[] = [
    { name: "a", when: { body: { "order.kind": "casino" } }, then: { reject: 403 } },
    { name: "b", when: {}, then: { service: "wine", attributes: { kind: "{body.order.kind}" } } },
  ];
  const status = (type: string, body: string) => {
    const found = identify(rules, { type, body });
    return found.ok ? found.value.attributes.kind : found.error.status;
  };
  const multipart = (...parts: [type: string, body: string, ...headers: string[]][]) =>
    parts
      .map(
        ([type, body, ...headers]) => `--x\r\n${[`Content-Type: ${type}`, ...headers].join("\r\n")}\r\n\r\n${body}\r\n`,
      )
      .join("")
      .concat("--x--\r\n");

  it.each([
    ["<order><kind>casino</kind></order>"],
    ["<order><kind>c&#97;sin&#x6f;</kind></order>"],
    ["<order><kind><![CDATA[casino]]></kind></order>"],
    ["<order><kind>cas<!-- x -->ino</kind></order>"],
    ["<x:order xmlns:x='y'><x:kind>casino</x:kind></x:order>"],
    ["<order><kind>wine</kind><kind>casino</kind></order>"],
    ["<order><kind x='1'>wine</kind><kind x='1'>casino</kind></order>"],
    ["<?xml version='1.0' encoding='utf-8'?><order><kind>casino</kind></order>"],
  ])("XML: %s", (body) => {
    expect(status("application/xml", body)).toBe(403);
  });

  it.each([
    ['{"order":{"kind":"casino"}}'],
    ['{"ord\\u0065r":{"kind":"c\\u0061sino"}}'],
    ['{"order":{"kind":["wine","casino"]}}'],
    ['{"order":[{"kind":"wine"},{"kind":"casino"}]}'],
  ])("JSON: %s", (body) => {
    expect(status("application/json", body)).toBe(403);
  });

  it.each([
    ["application/json", '{"order":{"kind":"casino","kind":"wine"}}'],
    ["application/json", '{"order":{"kind":"wine","k\\u0069nd":"casino"}}'],
    ["application/json", '{"order":{"kind":"wine"},"order":{"kind":"casino"}}'],
    ["application/json", '\ufeff{"order":{"kind":"casino"}}'],
    ["application/json;charset=utf-16", '{"order":{"kind":"wine"}}'],
    ["application/xml", "<?xml version='1.0' encoding='utf-7'?><order><kind>wine</kind></order>"],
    ["application/xml", "<order><kind>wine</kind></order><order><kind>casino</kind></order>"],
    ["application/xml", "<order kind='a' kind='b'/>"],
  ])("what two readers read in two ways is refused: %s %s", (type, body) => {
    expect(status(type, body)).toBe(400);
  });

  const wine = '{"order":{"kind":"wine"}}';
  const bad = "<order><kind>casino</kind></order>";

  it("in each part of several, and in parts of parts (RFC 2046 §5.1)", () => {
    const type = "multipart/mixed;boundary=x";
    expect(status(type, multipart(["application/json", wine], ["application/xml", bad]))).toBe(403);
    expect(status(type, multipart(["application/sdp", "v=0"], ["application/json", wine]))).toBe("wine");
    const inner = multipart(["application/xml", bad]).replaceAll("--x", "--y");
    expect(status(type, multipart(["application/json", wine], ["multipart/alternative;boundary=y", inner]))).toBe(403);
  });

  it.each([
    ["Content-Transfer-Encoding: quoted-printable", 400],
    ["Content-Transfer-Encoding: base64", 400],
    ["Content-Encoding: gzip", 400],
    ["Content-Transfer-Encoding: 8bit", "wine"],
  ])("not in another encoding than it is read in: %s", (header, outcome) => {
    expect(status("multipart/mixed;boundary=x", multipart(["application/json", wine, header]))).toBe(outcome);
  });

  it("is too long to be matched: refused", () => {
    const compiled = compileRules(rules);
    const long = request({ type: "application/json", body: `{"order":{"kind":"${"a".repeat(1500)}"}}` });
    expect(compiled.ok && compiled.value.identify(long, { ...lookups, ruleBodyBytes: 4000 })).toMatchObject({
      error: { status: 400, reason: "Field In Body Too Long" },
    });
  });
});

describe("the user who signed in", () => {
  const rules: Rule[] = [
    { name: "a", when: { user: "admin-.*" }, then: { service: "wine" } },
    {
      name: "b",
      when: { user: "(alice|bob)" },
      then: { service: "beer", client: { name: "{user}", says: "{from.user}" } },
    },
  ];
  const as = (user: string | undefined, from = "<sip:anonymous@anonymous.invalid>;tag=1") => {
    const compiled = compileRules(rules);
    if (!compiled.ok) throw new Error(JSON.stringify(compiled.error));
    return compiled.value.identify(request({ from }), lookups, user);
  };

  it("is a condition and a placeholder, whatever From says", () => {
    expect(as("alice")).toMatchObject({ value: { rule: "b", client: { name: "alice", says: "anonymous" } } });
    expect(as("alice", "<sip:admin-1@portal.com>;tag=1")).toMatchObject({ value: { rule: "b" } });
    expect(as("admin-1", "<sip:alice@portal.com>;tag=1")).toMatchObject({ value: { rule: "a" } });
    expect(as("mallory")).toMatchObject({ ok: false, error: { status: 404 } });
    expect(as(undefined, "<sip:alice@portal.com>;tag=1")).toMatchObject({ ok: false });
  });
});
