import { describe, expect, it } from "vitest";
import { Registrations } from "../../src/node/registrations.ts";
import { parseAuthorization } from "../../src/sip/digest.ts";
import { parseNameAddr, splitList } from "../../src/sip/headers.ts";
import { Headers, SipRequest, type SipResponse } from "../../src/sip/message.ts";
import { digestAnswer } from "../support/digest-answer.ts";
import { type Lab, type LabOptions, lab, type Peer } from "./harness.ts";

const DEVICE = "urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6";
const OTHER = "urn:uuid:00000000-0000-1000-8000-000a95a0e128";
const flow = (regId: number, device = DEVICE, uri = "sip:a1b2@df7j.invalid;transport=ws") =>
  `<${uri}>;reg-id=${regId};+sip.instance="<${device}>"`;

let calls = 0;

interface Said {
  readonly contacts?: readonly string[];
  readonly headers?: readonly [string, string][];
  readonly callId?: string;
  readonly seq?: number;
  readonly to?: string;
  readonly uri?: string;
  readonly vias?: number;
}

/** Sends a REGISTER and returns the answer. */
function register(peer: Peer, said: Said = {}): SipResponse {
  const { contacts = [`<sip:alice@${peer.address}:${peer.port}>`], headers = [], to = "<sip:alice@portal.com>" } = said;
  const fields = new Headers()
    .add("Via", `SIP/2.0/${peer.flow.transport.toUpperCase()} ${peer.address}:${peer.port};branch=z9hG4bKr${++calls}`)
    .add("From", `<sip:alice@portal.com>;tag=r${calls}`)
    .add("To", to)
    .add("Call-ID", said.callId ?? `register-${calls}`)
    .add("CSeq", `${said.seq ?? 1} REGISTER`)
    .add("Max-Forwards", "70");
  for (let i = 1; i < (said.vias ?? 1); i++) fields.add("Via", `SIP/2.0/UDP 10.0.0.${i};branch=z9hG4bKp${calls}`);
  for (const contact of contacts) fields.add("Contact", contact);
  for (const [name, value] of headers) fields.add(name, value);
  peer.send(new SipRequest("REGISTER", said.uri ?? "sip:portal.com", fields));
  const answer = peer.inbox.shift();
  if (!answer || answer.isRequest) throw new Error("no answer to REGISTER");
  return answer;
}

/** The URIs of the answer's Contacts with what stands behind them. */
const contactsOf = (answer: SipResponse) =>
  answer.headers
    .all("contact")
    .flatMap(splitList)
    .map((text) => {
      const read = parseNameAddr(text);
      if (!read.ok) throw new Error(text);
      return { uri: read.value.uri, ...Object.fromEntries(read.value.params) } as Record<string, string>;
    });
const urisOf = (answer: SipResponse) => contactsOf(answer).map(({ uri }) => uri);

const taken = (l: Lab) => l.core.bindings.of("alice", l.clock.monotonic());
const opened = (options: LabOptions = {}) => lab({ clientTransport: "udp", ...options });

describe("a REGISTER (RFC 3261 §10.3)", () => {
  it("is answered 200 with the Contact, and how long it holds", async () => {
    const l = await opened();
    const answer = register(l.client);
    expect(answer.status).toBe(200);
    expect(contactsOf(answer)).toEqual([{ uri: "sip:alice@192.0.2.50:5062", expires: "3600" }]);
    expect(l.core.counters).toMatchObject({ registers: 1, registersRefused: 0 });
  });

  it("without a Contact asks which there are (§10.2.3)", async () => {
    const l = await opened();
    register(l.client, { contacts: ["<sip:alice@192.0.2.50:5062>;q=0.5", "<sip:alice@192.0.2.50:5070>"] });
    l.clock.advance(100_000);
    const answer = register(l.client, { contacts: [] });
    expect(contactsOf(answer)).toEqual([
      { uri: "sip:alice@192.0.2.50:5062", q: "0.5", expires: "3500" },
      { uri: "sip:alice@192.0.2.50:5070", expires: "3500" },
    ]);
  });

  it.each([
    ["the parameter of the Contact", ["<sip:alice@192.0.2.50:5062>;expires=120"], "600", 120],
    ["the header field", ["<sip:alice@192.0.2.50:5062>"], "600", 600],
    ["no more than the most", ["<sip:alice@192.0.2.50:5062>;expires=999999"], "", 3600],
    ["the default for what is no number (§20.19)", ["<sip:alice@192.0.2.50:5062>;expires=soon"], "", 3600],
  ])("holds as long as %s says", async (_what, contacts, expires, s) => {
    const l = await opened();
    const answer = register(l.client, { contacts, headers: expires === "" ? [] : [["Expires", expires]] });
    expect(contactsOf(answer)[0]).toMatchObject({ expires: String(s) });
    l.clock.advance(s * 1000 - 1);
    expect(taken(l)).toHaveLength(1);
    l.clock.advance(1);
    expect(taken(l)).toHaveLength(0);
  });

  it("for too short a time gets 423 with Min-Expires (step 7)", async () => {
    const l = await opened();
    const answer = register(l.client, { contacts: ["<sip:alice@192.0.2.50:5062>;expires=5"] });
    expect(answer.status).toBe(423);
    expect(answer.headers.get("min-expires")).toBe("60");
    expect(taken(l)).toHaveLength(0);
  });

  it("with expires=0 removes that Contact and no other (§10.2.2)", async () => {
    const l = await opened();
    register(l.client, { contacts: ["<sip:alice@192.0.2.50:5062>", "<sip:alice@192.0.2.50:5070>"] });
    const answer = register(l.client, { contacts: ["<sip:alice@192.0.2.50:5062>;expires=0"] });
    expect(urisOf(answer)).toEqual(["sip:alice@192.0.2.50:5070"]);
  });

  it("with * and Expires 0 removes all (§10.2.2)", async () => {
    const l = await opened();
    register(l.client, { contacts: ["<sip:alice@192.0.2.50:5062>", "<sip:alice@192.0.2.50:5070>"] });
    const answer = register(l.client, { contacts: ["*"], headers: [["Expires", "0"]] });
    expect([answer.status, urisOf(answer)]).toEqual([200, []]);
    expect(l.core.bindings.size).toBe(0);
  });

  it.each<[what: string, said: Said, status: number]>([
    ["* that says a time", { contacts: ["*"], headers: [["Expires", "60"]] }, 400],
    ["* beside another Contact", { contacts: ["*", "<sip:a@192.0.2.50>"], headers: [["Expires", "0"]] }, 400],
    ["a mail address", { contacts: ["<mailto:alice@portal.com>"] }, 400],
    ["header fields in the URI", { contacts: ["<sip:alice@192.0.2.50?Subject=x>"] }, 400],
    ["a flow of no device (RFC 5626 §6)", { contacts: ["<sip:alice@192.0.2.50>;reg-id=1"] }, 400],
    ["a reg-id that is none", { contacts: [flow(0)] }, 400],
    ["a sips URI by UDP (§26.2.2)", { contacts: ["<sips:alice@192.0.2.50>"] }, 400],
    ["nobody's name", { contacts: ["<sip:alice@df7j.invalid>"] }, 400],
    ["the address of an app server", { contacts: ["<sip:alice@192.0.2.100:5060>"] }, 403],
    [
      "a Path to an app server",
      {
        headers: [
          ["Path", "<sip:192.0.2.100;lr>"],
          ["Supported", "path"],
        ],
      },
      403,
    ],
    ["a Path that cannot be read", { headers: [["Path", "<nobody"]] }, 400],
    ["another user", { to: "<sip:bob@portal.com>" }, 403],
    ["another domain", { uri: "sip:elsewhere.example" }, 404],
    [
      "too many Contacts",
      { contacts: Array.from({ length: 11 }, (_, i) => `<sip:alice@192.0.2.50:${6000 + i}>`) },
      400,
    ],
    ["a Contact without end", { contacts: [`<sip:${"a".repeat(3000)}@192.0.2.50>`] }, 400],
    ["an unknown extension", { headers: [["Require", "nosuch"]] }, 420],
  ])("with %s changes nothing", async (_what, said, status) => {
    const l = await opened();
    register(l.client, { contacts: ["<sip:alice@192.0.2.50:5099>"] });
    expect(register(l.client, said).status).toBe(status);
    expect(taken(l).map(({ contact }) => contact)).toEqual(["sip:alice@192.0.2.50:5099"]);
  });

  it("may demand what the registrar does", async () => {
    const l = await opened();
    expect(register(l.client, { headers: [["Require", "path, GRUU, outbound"]] }).status).toBe(200);
  });

  it("that is older than one before gets an error, and makes none of its changes (step 7)", async () => {
    const l = await opened();
    const call = { callId: "same" };
    register(l.client, { ...call, seq: 5 });
    const late = register(l.client, {
      ...call,
      seq: 5,
      contacts: ["<sip:alice@192.0.2.50:5070>", "<sip:alice@192.0.2.50:5062>;expires=0"],
    });
    expect(late.status).toBe(500);
    expect(taken(l).map(({ contact }) => contact)).toEqual(["sip:alice@192.0.2.50:5062"]);
    expect(register(l.client, { ...call, seq: 4, contacts: ["*"], headers: [["Expires", "0"]] }).status).toBe(500);
    expect(taken(l)).toHaveLength(1);
    expect(register(l.client, { ...call, seq: 6 }).status).toBe(200);
    expect(register(l.client, { callId: "after-a-new-start", seq: 1 }).status).toBe(200);
  });

  it("finds a Contact again however its URI is written (§19.1.4)", async () => {
    const l = await opened();
    register(l.client, { contacts: ["<sip:%61lice@PC.portal.com:5062;transport=UDP>"] });
    register(l.client, { contacts: ["<sip:alice@pc.portal.com:5062;transport=udp>;expires=0"] });
    expect(taken(l)).toHaveLength(0);
  });

  it("that has expired takes nobody's place, also before it is swept", async () => {
    const l = await opened({ limits: { contactsPerUser: 2 } as never });
    const [one, two, three] = [5062, 5070, 5072].map((port) => `<sip:alice@192.0.2.50:${port}>`);
    register(l.client, { contacts: [one!] });
    register(l.client, { contacts: [`${two};expires=60`] });
    l.clock.advance(60_000);
    const answer = register(l.client, { contacts: [three!] });
    expect(urisOf(answer)).toEqual(["sip:alice@192.0.2.50:5062", "sip:alice@192.0.2.50:5072"]);
  });

  it("over the user's bound takes the place of the one that was refreshed the longest ago", async () => {
    const l = await opened({ limits: { contactsPerUser: 2 } as never });
    for (const port of [6001, 6002, 6001, 6003]) register(l.client, { contacts: [`<sip:alice@192.0.2.50:${port}>`] });
    expect(taken(l).map(({ contact }) => contact)).toEqual(["sip:alice@192.0.2.50:6001", "sip:alice@192.0.2.50:6003"]);
  });

  it("over the bound for all users gets 503, but refreshes what there is", async () => {
    const l = await opened({ limits: { contacts: 1 } as never });
    register(l.client);
    const answer = register(l.client, { contacts: ["<sip:alice@192.0.2.50:6001>"] });
    expect([answer.status, answer.headers.get("retry-after")]).toEqual([503, "60"]);
    expect(register(l.client).status).toBe(200);
    l.clock.advance(3_600_000);
    expect(register(l.client, { contacts: ["<sip:alice@192.0.2.50:6001>"] }).status).toBe(200);
  });

  it("keeps what a push service needs (RFC 8599)", async () => {
    const l = await opened();
    const uri = "sip:alice@192.0.2.50:5062;pn-provider=acme;pn-param=acme-param;pn-prid=ZTY4ZDJlMzODE1NmUgKi0K";
    expect(urisOf(register(l.client, { contacts: [`<${uri}>`] }))).toEqual([uri]);
  });

  it("gives Path back to a client that knows it (RFC 3327 §5.3)", async () => {
    const l = await opened();
    const path: [string, string] = ["Path", "<sip:192.0.2.7;lr>"];
    const answer = register(l.client, { headers: [path, ["Supported", "path"]], vias: 2 });
    expect(answer.headers.all("path")).toEqual([path[1]]);
    expect(taken(l)[0]).toMatchObject({ path: [path[1]] });
    expect(register(l.client, { headers: [path], vias: 2 }).headers.has("path")).toBe(false);
  });
});

describe("signing in to register (M2, RFC 3261 §10.3, step 3)", () => {
  const credentials = (answer: SipResponse, password: string): [string, string] => {
    const challenge = answer.headers.get("www-authenticate")!;
    expect(parseAuthorization(challenge)).toBeDefined();
    const asked = { challenge, method: "REGISTER", uri: "sip:portal.com" };
    return ["Authorization", digestAnswer({ ...asked, user: "alice", realm: "portal.com", password })];
  };

  it("is asked for by 401, and wrong passwords by 401 again", async () => {
    const l = await opened({ signIn: true });
    const challenge = register(l.client);
    expect(challenge.status).toBe(401);
    expect(register(l.client, { headers: [credentials(challenge, "wrong")] }).status).toBe(401);
    expect(l.core.bindings.size).toBe(0);
    expect(register(l.client, { headers: [credentials(register(l.client), "secret")] }).status).toBe(200);
  });

  it("is no way to register another user", async () => {
    const l = await opened({ signIn: true });
    const headers = [credentials(register(l.client), "secret")];
    expect(register(l.client, { headers, to: "<sip:bob@portal.com>" }).status).toBe(403);
  });
});

describe("a device with flows (RFC 5626)", () => {
  const phone = (l: Lab, port = 40_001) => l.peer("192.0.2.50", port, "tcp");
  const outbound: [string, string] = ["Supported", "path, gruu, outbound"];

  it("is known by device and flow, whatever its Contact says", async () => {
    const l = await opened();
    const one = phone(l);
    const answer = register(one, { contacts: [flow(1)], headers: [outbound] });
    expect(answer.headers.get("require")).toBe("outbound");
    register(phone(l, 40_002), { contacts: [flow(2)], headers: [outbound] });
    // SIP.js writes the GRUU of the first answer into its next REGISTER.
    const again = register(one, {
      contacts: [flow(1, DEVICE, `sip:alice@portal.com;gr=${DEVICE}`)],
      headers: [outbound],
    });
    expect(urisOf(again)).toEqual(["sip:a1b2@df7j.invalid;transport=ws", `sip:alice@portal.com;gr=${DEVICE}`]);
    expect(taken(l)).toHaveLength(2);
  });

  it("loses a flow with its connection, and keeps the other", async () => {
    const l = await opened();
    const [one, two] = [phone(l), phone(l, 40_002)];
    register(one, { contacts: [flow(1)] });
    register(two, { contacts: [flow(2)] });
    one.flow.open = false;
    l.transactions.flowFailed(one.flow, "reset");
    expect(taken(l).map(({ regId }) => regId)).toEqual([2]);
  });

  it("keeps a flow that has come again by another connection before the first one broke", async () => {
    const l = await opened();
    const [one, two] = [phone(l), phone(l, 40_002)];
    register(one, { contacts: [flow(1)] });
    register(two, { contacts: [flow(1)] });
    l.transactions.flowFailed(one.flow, "reset");
    expect(taken(l).map((binding) => binding.flow?.id)).toEqual([two.flow.id]);
  });

  it("is gone with its connection even without reg-id, unless it takes connections at its Contact", async () => {
    const l = await opened();
    const one = phone(l);
    register(one, {
      contacts: ["<sip:alice@192.0.2.50:40001;transport=tcp>", "<sip:alice@192.0.2.50:5062;transport=tcp>"],
    });
    l.transactions.flowFailed(one.flow, "reset");
    expect(taken(l).map(({ contact, flow }) => [contact, flow])).toEqual([
      ["sip:alice@192.0.2.50:5062;transport=tcp", undefined],
    ]);
  });

  it("has a public and temporary GRUUs (RFC 5627 §5.3)", async () => {
    const l = await opened();
    const [first] = contactsOf(
      register(phone(l), { to: "<sip:alice@portal.com>", contacts: [flow(1)], headers: [outbound] }),
    );
    expect(first).toMatchObject({ "pub-gruu": `sip:alice@portal.com;gr=${DEVICE}`, "+sip.instance": `<${DEVICE}>` });
    expect(first!["temp-gruu"]).toMatch(/^sip:tgruu\.[^@]+@portal\.com;gr$/);
    const [second] = contactsOf(register(phone(l), { contacts: [flow(1)], headers: [outbound] }));
    expect(second!["temp-gruu"]).not.toBe(first!["temp-gruu"]);
    const [plain] = contactsOf(register(phone(l), { contacts: [flow(1)] }));
    expect(plain).not.toHaveProperty("pub-gruu");
  });

  it("forgets temporary GRUUs with the device, and the oldest of many", async () => {
    const l = await opened();
    for (let i = 0; i < 9; i++) register(phone(l), { contacts: [flow(1), flow(1, OTHER)], headers: [outbound] });
    const tokens = taken(l).flatMap(({ temps }) => temps);
    expect(tokens).toHaveLength(10);
    for (const token of tokens) expect(l.core.bindings.named(token, l.clock.monotonic())).toBeDefined();
    l.core.bindings.removeAll("alice");
    for (const token of tokens) expect(l.core.bindings.named(token, l.clock.monotonic())).toBeUndefined();
  });
});

describe("a client behind a NAT (RFC 3581)", () => {
  it("is reached where it came from, and not where its Contact says", async () => {
    const l = await opened();
    const fields = new Headers()
      .add("Via", "SIP/2.0/UDP 10.1.1.5:5060;rport;branch=z9hG4bKnat")
      .add("From", "<sip:alice@portal.com>;tag=n")
      .add("To", "<sip:alice@portal.com>")
      .add("Call-ID", "nat")
      .add("CSeq", "1 REGISTER")
      .add("Contact", "<sip:alice@10.1.1.5:5060>");
    l.client.send(new SipRequest("REGISTER", "sip:portal.com", fields));
    l.client.response(200);
    expect(taken(l)[0]?.behind).toEqual({ transport: "udp", address: "192.0.2.50", port: 5062 });
  });
});

describe("what operators see and do", () => {
  it("lists devices, and removes a user's", async () => {
    const l = await opened();
    const registrations = new Registrations(l.core);
    register(l.client, {
      contacts: [flow(1, DEVICE, "sip:alice@192.0.2.50:5062")],
      headers: [["User-Agent", "phone/1"]],
    });
    l.clock.advance(5_000);
    expect(registrations.views("alice")).toEqual([
      {
        user: "alice",
        contact: "sip:alice@192.0.2.50:5062",
        from: "udp/192.0.2.50:5062",
        instance: DEVICE,
        gruu: `sip:alice@portal.com;gr=${DEVICE}`,
        regId: 1,
        userAgent: "phone/1",
        q: 1,
        sinceS: 5,
        leftS: 3595,
      },
    ]);
    expect(registrations.views("bob")).toEqual([]);
    expect(registrations.remove("alice")).toBe(1);
    expect(registrations.views()).toEqual([]);
  });

  it("forgets the devices of users who are blocked or removed, and what has expired", async () => {
    const users = [{ id: "alice", realm: "portal.com", ha1: { sha256: "" } }];
    const l = await opened({ users });
    const registrations = new Registrations(l.core);
    registrations.start();
    register(l.client, { contacts: ["<sip:alice@192.0.2.50:5062>;expires=60", "<sip:alice@192.0.2.50:5070>"] });
    l.clock.advance(65_000);
    expect(l.core.bindings.size).toBe(1);
    users.length = 0;
    await l.core.directory.reload();
    expect(l.core.bindings.size).toBe(0);
    registrations.stop();
  });
});
