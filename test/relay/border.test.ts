// biome-ignore-all lint/suspicious/noThenProperty: a rule says when and then
import { describe, expect, it } from "vitest";
import type { SipMessage } from "../../src/sip/message.ts";
import { establish, type Lab, lab, type Peer } from "./harness.ts";

/* What of a message crosses the relay (decision 18), in every message that can carry it. */

/**
 * What networks tell each other of who calls, by which way, and who pays: RFC 3325, 3455, 5502, 5806, 6050, 7044, 7315,
 * 3GPP TS 24.229.
 */
const CLAIMS =
  `Additional-Identity Attestation-Info Authorization-Info Cellular-Network-Info DC-Info Diversion Feature-Caps Geolocation-Routing
 History-Info Identity Identity-Info Origination-Id P-Access-Network-Info P-Answer-State P-Asserted-Identity P-Asserted-Service
 P-Associated-URI P-Called-Party-ID P-Charge-Info P-Charging-Function-Addresses P-Charging-Vector P-DCS-Billing-Info P-DCS-Trace-Party-ID
 P-Early-Media P-Media-Authorization P-Preferred-Identity P-Preferred-Service P-Private-Network-Indication P-Profile-Key
 P-Refused-URI-List P-Served-User P-User-Database P-Visited-Network-ID Path Permission-Missing Priority-Verstat Referred-By Relayed-Charge
 Remote-Party-ID Reply-To Resource-Priority Response-Source Restoration-Info Security-Client Served-User Service-Interact-Info
 Service-Route Tollgate-Attributes Tollgate-Client Tollgate-Service Tollgate-User Trigger-Consent X-Tollgate-User Call-Info Alert-Info
 Error-Info Organization Answer-Mode Priv-Answer-Mode Max-Breadth Join Some-New-Header`.split(/\s+/);

/** What tells of the inside: who answers there, with what, by which way; and what leads past the relay. */
const INSIDE = [...CLAIMS, "Server", "User-Agent"].filter(
  (name) => !["Call-Info", "Alert-Info", "Organization", "Tollgate-Service"].includes(name),
);

const claims = (names: readonly string[]): [string, string][] => names.map((name) => [name, "<sip:boss@10.0.0.5>"]);
const found = ({ headers }: SipMessage, names: readonly string[]) =>
  names.filter((name) => headers.all(name.toLowerCase()).some((value) => /boss|10\.0\.0\.5/.test(value)));

type Call = Awaited<ReturnType<typeof establish>>;

/** Everything that a client can send, each seen at the app server. */
const FROM_CLIENT: Readonly<Record<string, (l: Lab, headers: [string, string][]) => Promise<SipMessage>>> = {
  INVITE: async (l, headers) => {
    l.client.invite({ headers, body: "v=0" });
    return l.server("a").request("INVITE");
  },
  "ACK with a body": async (l, headers) => {
    const invite = l.client.invite();
    l.server("a").answer(l.server("a").request("INVITE"), 200);
    const answer = l.client.response(200);
    l.client.inDialog("ACK", invite, answer, 1, { headers, body: "v=0" });
    return l.server("a").request("ACK");
  },
  ...Object.fromEntries(
    ["BYE", "INFO", "MESSAGE", "OPTIONS", "NOTIFY", "INVITE", "UPDATE", "FOO"].map((method) => [
      `${method} in the session`,
      async (l: Lab, headers: [string, string][]) => {
        const { invite, answer, server } = await establish(l);
        l.client.inDialog(method, invite, answer, 2, { headers });
        return server.request(method);
      },
    ]),
  ),
  "an answer": async (l, headers) => {
    const { server, inviteAtServer, answerOfServer } = await establish(l);
    server.backInDialog("MESSAGE", inviteAtServer, answerOfServer, 1);
    l.client.answer(l.client.request("MESSAGE"), 200, { headers });
    return server.response(200);
  },
  "a 200 to a re-INVITE": async (l, headers) => {
    const { server, inviteAtServer, answerOfServer } = await establish(l);
    server.backInDialog("INVITE", inviteAtServer, answerOfServer, 1);
    l.client.answer(l.client.request("INVITE"), 200, { headers });
    return server.response(200);
  },
};

/** Everything that an app server can send, each seen at the client. */
const FROM_SERVER: Readonly<Record<string, (l: Lab, headers: [string, string][]) => Promise<SipMessage>>> = {
  ...Object.fromEntries(
    [180, 183, 200, 404, 500, 603].map((status) => [
      String(status),
      async (l: Lab, headers: [string, string][]) => {
        l.client.invite();
        l.server("a").answer(l.server("a").request("INVITE"), status, { headers });
        return l.client.inbox.shift()!;
      },
    ]),
  ),
  ...Object.fromEntries(
    ["BYE", "INFO", "MESSAGE", "OPTIONS", "NOTIFY", "INVITE", "UPDATE", "FOO"].map((method) => [
      `${method} in the session`,
      async (l: Lab, headers: [string, string][]) => {
        const { server, inviteAtServer, answerOfServer } = await establish(l);
        server.backInDialog(method, inviteAtServer, answerOfServer, 1, { headers });
        return l.client.request(method);
      },
    ]),
  ),
  ...Object.fromEntries(
    (
      [
        ["INVITE", 200],
        ["INVITE", 488],
        ["UPDATE", 200],
        ["MESSAGE", 404],
        ["BYE", 200],
      ] as const
    ).map(([method, status]) => [
      `${status} to ${method} in the session`,
      async (l: Lab, headers: [string, string][]) => {
        const { invite, answer, server } = await establish(l);
        l.client.inDialog(method, invite, answer, 2);
        server.answer(server.request(method), status, { headers });
        await l.settle();
        return l.client.response(status);
      },
    ]),
  ),
};

describe("of a client's message", () => {
  it.each(Object.keys(FROM_CLIENT))(
    "%s, no claim of identity, path or charging reaches the app server",
    async (what) => {
      const at = await FROM_CLIENT[what]!(await lab(), claims(CLAIMS));
      expect(found(at, CLAIMS)).toEqual([]);
      if (what === "INVITE") expect(at.headers.all("p-asserted-identity")).toEqual(["<sip:alice@portal.com>"]);
    },
  );

  it("compact and strangely written names are the same names", async () => {
    const at = await FROM_CLIENT.INVITE!(await lab(), [
      ["b", "<sip:boss@portal.com>"],
      ["y", "boss"],
      ["n", "<boss>"],
      ["REMOTE-PARTY-ID", "<sip:boss@portal.com>"],
      ["p-ASSERTED-identity", "<sip:boss@portal.com>"],
      ["tollgate-SERVICE", "boss"],
    ]);
    expect(at.headers.fields.filter(({ value }) => value.includes("boss"))).toEqual([]);
  });

  it("what the operator lets pass, passes; never what the relay writes itself", async () => {
    const headers = { fromClients: ["P-Access-Network-Info", "Histor*", "P-*", "Resource-Priority"] };
    const at = await FROM_CLIENT.INVITE!(await lab({ config: { headers } }), [
      ...claims(CLAIMS),
      ["X-Shop", "boss"],
      ["Supported", "histinfo, resource-priority, timer, join"],
    ]);
    const passed = CLAIMS.filter((name) => /^(P-|History-Info|Resource-Priority)/.test(name));
    expect(found(at, [...CLAIMS, "X-Shop"]).sort()).toEqual(
      passed.filter((name) => !/^P-(Asserted|Preferred)-Identity$/.test(name)).sort(),
    );
    expect(at.headers.all("supported")).toEqual(["histinfo, resource-priority", "timer"]);
  });

  it("option tags of what does not pass cannot be had: 420 (RFC 3261 §8.2.2.3)", async () => {
    const l = await lab();
    l.client.invite({ headers: [["Require", "histinfo"]] });
    expect(l.client.response(420).headers.get("unsupported")).toBe("histinfo");
    l.client.invite({ headers: [["Supported", "histinfo"]] });
    expect(l.server("a").request("INVITE").headers.all("supported")).toEqual(["timer"]); // the relay's own
  });
});

describe("of an app server's message", () => {
  it.each(Object.keys(FROM_SERVER))("%s, nothing of the inside reaches the client", async (what) => {
    const l = await lab();
    const headers: [string, string][] = [
      ...claims(INSIDE),
      ["Warning", '399 10.0.0.5:5070 "pool b is full"'],
      ["Warning", '392 10.0.0.5:5060 "Noisy feedback tells: pid=7 req_src_ip=10.0.0.1 in_uri=sip:x"'],
      ["Reason", 'Q.850;cause=16;text="from 10.0.0.5:5060"'],
    ];
    const message = await FROM_SERVER[what]!(l, headers);
    expect(found(message, INSIDE)).toEqual([]);
    expect(message.headers.all("warning")).toEqual(['399 portal.com "pool b is full"']);
    expect(message.headers.all("reason")).toEqual(["Q.850;cause=16"]);
    for (const { value } of message.headers.fields) expect(value).not.toContain("10.0.0.5");
  });

  it("a text that tells no address passes as it is", async () => {
    const reason = 'SIP;cause=600;text="Busy, everywhere: see \\"notes\\""';
    const message = await FROM_SERVER["BYE in the session"]!(await lab(), [
      ["Reason", reason],
      ["Warning", '305 sbc "Incompatible media format", 399 [2001:db8::1]:5060 "a \\"b\\", c"'],
    ]);
    expect(message.headers.all("reason")).toEqual([reason]);
    expect(message.headers.all("warning")).toEqual([
      '305 portal.com "Incompatible media format"',
      '399 portal.com "a \\"b\\", c"',
    ]);
  });

  it("a reason phrase that tells an address gives way to the status's own", async () => {
    const l = await lab();
    l.client.invite();
    const answer = l.server("a").answer(l.server("a").request("INVITE"), 404);
    expect(l.client.response(404).reason).toBe("Not Found");
    for (const [phrase, heard] of [
      ["No Route To 10.0.0.5:5060", "Not Found"],
      ["No Route To 2001:db8::5", "Not Found"],
      ["No Route To 2001:db8:0:1:2:3:4:5", "Not Found"],
      ["Closed From 22:30:00 On", "Closed From 22:30:00 On"],
      ["No such table", "No such table"],
    ] as const) {
      l.client.invite();
      l.server("a").inbox.shift();
      const at = l.server("a").request("INVITE");
      answer.reason = phrase;
      for (const name of ["Via", "From", "Call-ID", "CSeq"])
        answer.headers.set(name, at.headers.get(name.toLowerCase())!);
      answer.headers.set("To", `${at.headers.get("to")};tag=x`);
      l.server("a").send(answer);
      expect(l.client.response(404).reason).toBe(heard);
    }
  });

  it.each([
    ["Retry-After", "120 (10.0.0.5 is full)", "120"],
    ["Retry-After", "120;x=10.0.0.5", "120"],
    ["Retry-After", "120 (in a meeting);duration=60", "120 (in a meeting);duration=60"],
    ["Reason", 'SIP;cause=486;text="2001:db8::5 is busy"', "SIP;cause=486"],
    ["Warning", '399 a "2001:db8::5 is busy"', undefined],
  ])("%s: %s goes on as %s", async (name, said, heard) => {
    const l = await lab();
    l.client.invite();
    const server = l.server("a");
    server.answer(server.request("INVITE"), 486, { headers: [[name, said]] });
    expect(l.client.response(486).headers.get(name.toLowerCase())).toBe(heard);
  });

  it("what the operator lets pass, passes", async () => {
    const l = await lab({ config: { headers: { toClients: ["Server", "Reply-To"] } } });
    const names = ["Server", "Reply-To", "X-Queue"];
    const message = await FROM_SERVER["INVITE in the session"]!(l, claims(names));
    expect(found(message, names)).toEqual(["Server", "Reply-To"]);
  });

  it("the relay's own words do not tell why the app server cannot be reached (RFC 3326)", async () => {
    const l = await lab();
    const { server } = await establish(l);
    [...l.core.sessions.values()][0]!.lost("server", "connect ECONNREFUSED 10.0.0.5:5070");
    const bye = l.client.request("BYE");
    expect(bye.headers.get("reason")).toBe('SIP;cause=480;text="server is gone"');
    expect(server.inbox.length).toBeLessThan(2);
  });
});

describe("a transfer (RFC 3261 §19.1.5)", () => {
  const twoServers = () =>
    lab({ servers: [{ id: "a" }, { id: "b", services: ["beer"] }], more: [{ id: "beer" }], config: {} });

  const refer = (l: Lab, call: Call, to: string, headers: [string, string][] = []) =>
    l.client.inDialog("REFER", call.invite, call.answer, 2, {
      headers: [["Contact", l.client.contact], ["Refer-To", to], ...headers],
    });

  const asked = (peer: Peer) => peer.request("INVITE");

  it.each([
    ["a header line in a name", "P-Asserted-Identity%3a%20%22=%22%20%3Csip:root@portal.com%3E"],
    ["a name with a line break", "Subject%3a%20x%0d%0aP-Asserted-Identity=%3Csip:root@portal.com%3E"],
    ["a name with a space", "P-Asserted-Identity%20=%3Csip:root@portal.com%3E"],
    ["an empty name", "=x"],
    ["a value with a line break", "Subject=x%0d%0aP-Asserted-Identity:%20%3Csip:root@portal.com%3E"],
    ["a value with NUL", "Subject=x%00y"],
    ["what comes once, twice", "Content-Type=text/plain&c=application/xml"],
    ["two bodies", "body=a&body=b"],
  ])("is refused with %s in the URI", async (_what, headers) => {
    const l = await twoServers();
    const call = await establish(l);
    refer(l, call, `<sip:beer@portal.com?${headers}>`);
    l.client.response(400);
    expect(l.server("b").inbox).toEqual([]);
  });

  it("brings nothing in its URI that a client may not say, by whatever name", async () => {
    const l = await twoServers();
    const call = await establish(l);
    // Replaces and Join ask for something, and are refused (transfer.test.ts).
    const claims = CLAIMS.filter((name) => name !== "Replaces" && name !== "Join");
    const names = [...claims, "f", "t", "i", "v", "m", "l", "k", "y", "b", "Server", "User-Agent", "Allow", "Accept"];
    const uri = names.map((name) => `${name.replaceAll("e", "%65")}=%3Csip:boss@10.0.0.5%3E`).join("&");
    refer(l, call, `<sip:beer@portal.com?${uri}&s=two%20pints&c=application%2Fxml&body=%3Cbeer%2F%3E>`);
    l.client.response(200);
    const at = asked(l.server("b"));
    expect(at.headers.fields.filter(({ value }) => /boss|10\.0\.0\.5/.test(value))).toEqual([]);
    expect(at.headers.all("p-asserted-identity")).toEqual(["<sip:alice@portal.com>"]);
    expect(at.headers.all("subject")).toEqual(["two pints"]);
    expect([at.headers.all("content-type"), at.body.toString()]).toEqual([["application/xml"], "<beer/>"]);
  });

  it("nor in the REFER itself; who refers is the user who signed in (RFC 3892)", async () => {
    const l = await twoServers();
    const call = await establish(l);
    refer(l, call, "<sip:beer@portal.com>", [...claims(CLAIMS), ["Subject", "thirst"]]);
    l.client.response(200);
    const at = asked(l.server("b"));
    expect(at.headers.fields.filter(({ value }) => value.includes("boss"))).toEqual([]);
    expect(at.headers.all("referred-by")).toEqual(["<sip:alice@portal.com>"]);
    expect(at.headers.get("subject")).toBe("thirst");
  });
});

describe("To of the INVITE to the app server", () => {
  const services = { more: [{ id: "casino" }], servers: [{ id: "a", services: ["service1", "casino"] }] };

  it.each([
    ["as the client writes it where it names what is asked for", '"The shop" <sip:service1@portal.com>', undefined],
    ["by another address of the portal", "<sip:service1@192.0.2.1>", undefined],
    ["by another spelling", "<sip:%73ervice1@PORTAL.com>", undefined],
    ["another service", "<sip:casino@portal.com>", "<sip:service1@portal.com>"],
    ["another address", "<sip:service1@elsewhere.example>", "<sip:service1@portal.com>"],
    ["another scheme", "<tel:+491234>", "<sip:service1@portal.com>"],
  ])("%s: %s", async (_what, to, heard) => {
    const l = await lab(services);
    l.client.invite({ to });
    expect(l.server("a").request("INVITE").headers.get("to")).toBe(heard ?? to);
  });

  it("names no other service than the one that the body asks for, which is charged (M1)", async () => {
    const l = await lab(services);
    const type = "application/vnd.tollgate.service+xml";
    l.client.invite({ uri: "sip:casino@portal.com", body: '<service name="service1"/>', type });
    const at = l.server("a").request("INVITE");
    expect([at.headers.get("tollgate-service"), at.headers.get("to")]).toEqual([
      "service1",
      "<sip:service1@portal.com>",
    ]);
  });

  it("is what was asked for, where that is no service's name", async () => {
    const rules = [{ name: "all", when: {}, then: { service: "service1" } }];
    const l = await lab({ ...services, config: { rules } });
    l.client.invite({ uri: "sip:lesson-english@portal.com", to: "<sip:casino@portal.com>" });
    expect(l.server("a").request("INVITE").headers.get("to")).toBe("<sip:lesson-english@portal.com>");
  });
});
