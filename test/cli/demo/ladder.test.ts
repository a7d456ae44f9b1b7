import { describe, expect, it } from "vitest";
import { type Arrow, type Lane, labelOf, ladderHead, ladderNote, ladderRow } from "../../../src/cli/demo/ladder.ts";
import { Headers, SipRequest, SipResponse } from "../../../src/sip/message.ts";

const plain = { fancy: false };
const fancy = { fancy: true };
const row = (from: Lane, to: Lane, label: string, atMs = 0) =>
  ladderRow({ atMs, from, to, label } satisfies Arrow, plain);
const withoutColour = (text: string) => text.replace(/\u001b\[[\d;]*m/g, "");

describe("the ladder on paper: ASCII, 78 characters a row", () => {
  it("draws an arrow between the two that talk, with its time", () => {
    const blank = " ".repeat(33);
    const arrow = `-- INVITE wine ${"-".repeat(17)}>`;
    expect(row("client", "relay", "INVITE wine", 12)).toBe(`0.012 s  |${arrow}|${blank}|`);
    expect(row("relay", "server", "INVITE wine", 2_345)).toBe(`2.345 s  |${blank}|${arrow}|`);
  });

  it("draws answers from right to left", () => {
    expect(row("relay", "client", "200 OK")).toContain("|<-- 200 OK -");
    expect(row("server", "relay", "200 OK")).toMatch(/\|<-- 200 OK -+\|$/);
  });

  it("draws what goes past the relay from one side to the other", () => {
    expect(row("client", "server", "HTTP GET")).toMatch(/\|== HTTP GET =+>\|$/);
    expect(row("server", "client", "200 OK")).toMatch(/\|<== 200 OK =+\|$/);
  });

  it("gives every row the same width, whatever the label", () => {
    const rows = (["relay", "server"] as const).flatMap((to) =>
      ["", "x", "x".repeat(200)].map((label) => row("client", to, label, 12_345)),
    );
    expect(new Set([...rows, row("client", "relay", "BYE")].map((line) => line.length))).toEqual(new Set([78]));
  });

  it("puts each name over its lifeline", () => {
    const head = ladderHead({ client: "alice", relay: "relay", server: "wine shop" }, plain);
    const life = row("client", "relay", "BYE");
    expect(head.indexOf("alice")).toBe(life.indexOf("|"));
    expect(head.indexOf("relay") + 2).toBe(life.indexOf("|", 40));
    expect(head.length).toBe(life.length);
  });

  it("has room for a second app server, 80 characters a row; an arrow to it crosses the first one's lifeline", () => {
    const two = { fancy: false, servers: 2 } as const;
    const line = (from: Lane, to: Lane, label: string) => ladderRow({ atMs: 0, from, to, label }, two);
    expect(line("client", "relay", "401 Unauthorized (REFER)")).toBe(
      `0.000 s  |-- 401 Unauthorized (REFER) >|${" ".repeat(26)}|${" ".repeat(12)}|`,
    );
    expect(line("server", "relay", "200 OK (BYE), charges")).toMatch(/\| {29}\|<-- 200 OK \(BYE\), charges \| {12}\|$/);
    expect(line("relay", "second", "INVITE beer")).toMatch(/\| {29}\|-- INVITE beer -{23}>\|$/);
    expect(line("second", "client", "200 OK")).toMatch(/\|<== 200 OK =+\|$/);
    const head = ladderHead({ client: "alice", relay: "relay", server: "wine shop", second: "brewery" }, plain);
    expect(head).toMatch(/wine shop +brewery$/);
    expect([head.length, line("client", "server", "x").length]).toEqual([80, 80]);
  });

  it("lets nothing through that steers a terminal", () => {
    expect(row("client", "relay", "INVITE \u001b[2J\r\nx")).toContain("INVITE ?[2J??x");
    expect(ladderNote("the lesson", plain)).toBe("         the lesson");
  });
});

describe("the ladder on a terminal", () => {
  it("has box characters and colours, in the same places", () => {
    const drawn = ladderRow({ atMs: 0, from: "relay", to: "client", label: "404 Not Found" }, fancy);
    expect(drawn).toContain("\u001b[33m");
    expect(withoutColour(drawn)).toMatch(/│◄── 404 Not Found ─+│ {33}│$/);
    expect(withoutColour(drawn)).toHaveLength(78);
  });
});

describe("the label of a message", () => {
  const request = (
    method: string,
    headers: Record<string, string> = {},
    uri = "sip:wine@portal.example",
    body = "",
  ) => {
    const fields = new Headers();
    for (const [name, value] of Object.entries(headers)) fields.add(name, value);
    return new SipRequest(method, uri, fields, Buffer.from(body));
  };
  const answer = (status: number, reason: string, headers: Record<string, string>) => {
    const fields = new Headers();
    for (const [name, value] of Object.entries({ CSeq: "1 INVITE", ...headers })) fields.add(name, value);
    return new SipResponse(status, reason, fields);
  };
  const access = { "Content-Type": "application/vnd.tollgate.access+json" };
  const charge = { "Content-Type": "application/vnd.tollgate.charge+json" };

  it.each([
    ["INVITE wine", request("INVITE")],
    ["INVITE wine, signed", request("INVITE", { Authorization: "Digest x" })],
    ["INVITE beer", request("INVITE", { To: "<sip:beer@portal.example>" }, "sip:127.0.0.1:5070;transport=tcp")],
    [
      "INVITE beer",
      request("INVITE", { To: "<sip:wine@portal.example>", "Tollgate-Service": "beer" }, "sip:127.0.0.1"),
    ],
    ["re-INVITE beer", request("INVITE", { To: "<sip:wine@portal.example>;tag=1" }, "sip:r", '<service name="beer"/>')],
    ["INVITE of beer, URL", request("INVITE", { ...access, From: "<sip:beer@portal.example>;tag=1" }, "sip:alice@a")],
    ["REFER beer", request("REFER", { "Refer-To": "<sip:beer@portal.example>" })],
    ["REFER beer, keep", request("REFER", { "Refer-To": "<sip:beer@portal.example>;first=keep" })],
    ["NOTIFY 180", request("NOTIFY", {}, "sip:alice@a", "SIP/2.0 180 Ringing\r\n")],
    ["BYE", request("BYE")],
    ["INFO, charges", request("INFO", charge)],
    ["INFO", request("INFO", { "Content-Type": "application/dtmf-relay" })],
    ["180 Ringing", answer(180, "Ringing", {})],
    ["200 OK, URL inside", answer(200, "OK", access)],
    ["200 OK (BYE), charges", answer(200, "OK", { ...charge, CSeq: "2 BYE" })],
  ])("says %s", (label, message) => {
    expect(labelOf(message)).toBe(label);
  });
});
