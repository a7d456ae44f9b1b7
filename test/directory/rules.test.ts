// biome-ignore-all lint/suspicious/noThenProperty: a rule says when and then
import { describe, expect, it } from "vitest";
import type { Tariff } from "../../src/charging/tariff.ts";
import { compileRules, type RuleLookups } from "../../src/directory/rules.ts";
import type { Rule, Service } from "../../src/directory/types.ts";
import { Headers, SipRequest } from "../../src/sip/message.ts";

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
  isPortal: (host) => ["portal.com", "127.0.0.1"].includes(host.toLowerCase()),
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

function identify(rules: readonly Rule[], parts?: Parts) {
  const compiled = compileRules(rules);
  if (!compiled.ok) throw new Error(JSON.stringify(compiled.error));
  return compiled.value.identify(request(parts), lookups);
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
