import { createHash } from "node:crypto";
import { describe, expect, it } from "vitest";
import { StreamFramer } from "../../src/sip/frame.ts";
import { splitList } from "../../src/sip/headers.ts";
import { hasMagicCookie } from "../../src/sip/keys.ts";
import { SipRequest } from "../../src/sip/message.ts";
import { type ParseError, parseMessage } from "../../src/sip/parse.ts";
import { serialize } from "../../src/sip/serialize.ts";
import { parseUri, unescapeUser, uriHeaders } from "../../src/sip/uri.ts";
import { essence, read, readRequest } from "../sip/messages.ts";
import { loadTorture, type TortureMessage } from "./torture.ts";

const messages = loadTorture();

function named(name: string): Buffer {
  const found = messages.find((message) => message.name === name);
  if (!found) throw new Error(`no message ${name}`);
  return found.bytes;
}

/** Where the RFC leaves it open, what is done here. */
const REFUSED_BY_CHOICE = new Set([
  "quotbal",
  "ltgtruri",
  "lwsruri",
  "lwsstart",
  "trws",
  "escruri",
  "regbadct",
  "badaspec",
  "baddn",
  "baddn-terminated",
]);

const isRefused = ({ name, expected }: TortureMessage): boolean =>
  expected.parser === "reject" || (expected.parser === "either" && REFUSED_BY_CHOICE.has(name));

const refusalOf = (bytes: Buffer): ParseError => {
  const result = parseMessage(bytes, "datagram");
  if (result.ok) throw new Error("was read");
  return result.error;
};

it("all messages of RFC 4475 and RFC 5118 are here, octet for octet", () => {
  for (const { bytes, sha256 } of messages) expect(createHash("sha256").update(bytes).digest("hex")).toBe(sha256);
  expect(messages.filter(({ rfc, name }) => rfc === 4475 && name !== "baddn-terminated")).toHaveLength(49);
  expect(messages.filter(({ rfc }) => rfc === 5118)).toHaveLength(12);
});

describe("messages that must be read, or may be and are", () => {
  it.each(messages.filter((message) => !isRefused(message)))("RFC $rfc §$section $name: $title", (expected) => {
    const message = read(expected.bytes);
    expect(message.isRequest).toBe(expected.kind === "request");
    if (message.isRequest) expect(message.method).toBe(expected.method);
    const { via } = message;
    const { transport, host, port, branch } = expected.topVia;
    expect({
      transport: via?.transport,
      host: via?.host,
      port: via?.port ?? null,
      branch: via?.params.get("branch") ?? null,
    }).toEqual({
      transport,
      host,
      port,
      branch,
    });
    expect(message.headers.count("via")).toBe(expected.viaCount);
    expect(message.toTag !== undefined).toBe(expected.toTag);
    const length = expected.contentLength[0];
    expect(message.body.length).toBe(length === undefined ? expected.bodyBytes : Number(length));
  });

  it.each(messages.filter((message) => !isRefused(message)))(
    "$name is written so that it reads the same",
    ({ bytes }) => {
      const message = read(bytes);
      const written = serialize(message);
      expect(essence(read(written))).toEqual(essence(message));
      expect(serialize(read(written, "stream")).equals(written)).toBe(true);
    },
  );
});

describe("messages that must be refused, or may be and are", () => {
  it.each(messages.filter(isRefused))("RFC $rfc §$section $name: $title", ({ bytes, kind, expected }) => {
    const error = refusalOf(bytes);
    // A response is dropped; a request is answered where its Via says.
    expect(error.request !== undefined).toBe(kind === "request");
    if (kind === "request") expect(Object.values(expected.responses).flat()).toContain(error.status);
  });

  it.each(messages.filter((message) => isRefused(message) && message.kind === "request"))(
    "$name is answered where it came from",
    ({ bytes, topVia }) => {
      const { request } = refusalOf(bytes);
      expect([request?.via?.host, request?.via?.port ?? null]).toEqual([topVia.host, topVia.port]);
    },
  );
});

describe("what single messages are about", () => {
  const body = (name: string) => read(named(name)).body.toString("latin1");

  it("wsinv (§3.1.1.1): folded lines are one line, and strange values stay", () => {
    const { headers, from, toTag, fromTag } = readRequest(named("wsinv"));
    expect(headers.get("newfangledheader")).toBe("newfangled value continued newfangled value");
    expect(headers.get("unknownheaderwithunusualvalue")).toBe(";;,,;;,;");
    expect(headers.get("subject")).toBe("");
    expect(from?.display).toBe('J Rosenberg \\"');
    expect([toTag, fromTag]).toEqual(["1918181833n", "98asjd8"]);
    expect(splitList(headers.get("via")!)).toHaveLength(1);
  });

  it("intmeth (§3.1.1.2): octets of every kind stay", () => {
    const message = readRequest(named("intmeth"));
    expect(message.to?.display).toBe("BEL:\u0007 NUL:\u0000 DEL:\u007f");
    expect(message.callId).toBe("intmeth.word%ZK-!.*_+'@word`~)(><:\\/\"][?}{");
    expect(message.target).toMatchObject({ host: "example.com" });
  });

  it("esc01, escnull (§3.1.1.3, §3.1.1.4): escapes count once, and NUL ends nothing", () => {
    const { target } = readRequest(named("esc01"));
    expect(target?.scheme !== "other" && target && unescapeUser(target)).toBe("sips:user@example.com");
    const users = readRequest(named("escnull"))
      .headers.all("contact")
      .map((line) => {
        const uri = parseUri(line.replace(/[<>]/g, ""));
        return uri.ok && uri.value.scheme !== "other" ? unescapeUser(uri.value) : undefined;
      });
    expect(users).toEqual(["\u0000", "\u0000\u0000"]);
  });

  it("esc02 (§3.1.1.5): % is no escape in names and methods", () => {
    const { method, headers } = readRequest(named("esc02"));
    expect(method).toBe("RE%47IST%45R");
    expect(headers.count("contact")).toBe(2);
  });

  it("dblreq (§3.1.1.8): what follows the body of a datagram is gone", () => {
    expect(body("dblreq")).toBe("");
    expect(serialize(read(named("dblreq"))).includes("INVITE")).toBe(false);
  });

  it("semiuri (§3.1.1.9): semicolons in a user part begin no parameter", () => {
    const { target } = readRequest(named("semiuri"));
    expect(target?.scheme !== "other" && target && unescapeUser(target)).toBe("user;par=u@example.net");
  });

  it("unreason, noreason (§3.1.1.12, §3.1.1.13): reason phrases of all kinds", () => {
    expect(read(named("unreason"))).toMatchObject({ status: 200 });
    expect(Buffer.from((read(named("unreason")) as { reason?: string }).reason ?? "", "latin1").toString()).toContain(
      "простое",
    );
    expect(read(named("noreason"))).toMatchObject({ status: 100, reason: "" });
  });

  it("badinv01 (§3.1.2.1): the answer carries nothing of the broken Via but its address", () => {
    expect(refusalOf(named("badinv01")).request?.headers.get("via")).toBe("SIP/2.0/UDP 192.0.2.15");
  });

  it("badbranch (§3.2.1): a cookie without a branch identifies nothing", () => {
    expect(hasMagicCookie(readRequest(named("badbranch")))).toBe(false);
  });

  it("multi01 (§3.3.8): the answer carries the first of what came twice", () => {
    const { headers } = refusalOf(named("multi01")).request ?? new SipRequest("", "");
    for (const key of ["from", "to", "call-id", "cseq"]) expect(headers.count(key)).toBe(1);
  });

  it("cparam01, cparam02 (§3.3.12, §3.3.13): a parameter belongs to the Contact or to its URI", () => {
    const bare = readRequest(named("cparam01")).contact;
    expect([bare?.uri, bare?.params.has("unknownparam")]).toEqual(["sip:+19725552222@gw1.example.net", true]);
    const inside = readRequest(named("cparam02")).contact;
    expect([inside?.uri, inside?.params.size]).toEqual(["sip:+19725552222@gw1.example.net;unknownparam", 0]);
  });

  it("regescrt (§3.3.14): header fields of a URI are kept with it", () => {
    const uri = parseUri(readRequest(named("regescrt")).contact?.uri ?? "");
    expect(uri.ok && uri.value.scheme !== "other" && uriHeaders(uri.value)).toEqual([
      ["route", "<sip:sip.example.com>"],
    ]);
  });

  it("RFC 5118 §4.3, §4.4: a port stands behind the brackets; within them it is part of the address", () => {
    const hostOf = (name: string) => {
      const { target } = readRequest(named(name));
      return target?.scheme === "sip" ? [target.host, target.port] : undefined;
    };
    expect(hostOf("rfc5118/port-ambiguous")).toEqual(["[2001:db8::10:5070]", undefined]);
    expect(hostOf("rfc5118/port-unambiguous")).toEqual(["[2001:db8::10]", 5070]);
  });

  it("RFC 5118 §4.5: received is an address with or without brackets", () => {
    const received = (name: string) => readRequest(named(name)).via?.params.get("received");
    expect(received("rfc5118/via-received-param-with-delim")).toBe("[2001:db8::9:255]");
    expect(received("rfc5118/via-received-param-no-delim")).toBe("2001:db8::9:255");
  });
});

describe("the same messages in a stream", () => {
  it.each(
    messages.filter((message) => !isRefused(message) && message.name !== "dblreq" && message.contentLength.length > 0),
  )("$name is cut out of it and read", ({ bytes }) => {
    const frames = new StreamFramer().push(Buffer.concat([bytes, bytes]));
    expect(frames.map(({ kind }) => kind)).toEqual(["message", "message"]);
    for (const frame of frames)
      if (frame.kind === "message") expect(essence(read(frame.bytes, "stream"))).toEqual(essence(read(bytes)));
  });

  it.each(["ncl", "mcl01"])("%s ends the connection, with an answer (§3.1.2.3, §3.3.9)", (name) => {
    expect(new StreamFramer().push(named(name))).toMatchObject([
      { kind: "error", error: { status: 400, request: {} } },
    ]);
  });

  it("clerr waits for the rest of its body (§3.1.2.2)", () => {
    const framer = new StreamFramer();
    expect(framer.push(named("clerr"))).toEqual([]);
    expect(framer.pendingBytes).toBe(named("clerr").length);
  });
});
