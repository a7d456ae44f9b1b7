import { pino } from "pino";
import { describe, expect, it } from "vitest";
import { establish, type Lab, type LabOptions, lab } from "./harness.ts";

const UNUSABLE: [what: string, contact: string, reason: string][] = [
  ["every registration", "*", "Contact Is Not One SIP URI"],
  ["a telephone number", "<tel:+358401234567>", "Contact Is Not One SIP URI"],
  ["a mail address", "<mailto:alice@portal.com>", "Contact Is Not One SIP URI"],
  ["a URI without a host", "<sip:alice@>", "Contact Is Not One SIP URI"],
  ["a port that is none", "<sip:alice@192.0.2.50:0>", "Contact Is Not One SIP URI"],
  ["an IPv6 address without brackets", "<sip:alice@2001:db8::50>", "Contact Is Not One SIP URI"],
  ["two URIs", "<sip:alice@192.0.2.50:5062>, <sip:alice@192.0.2.51:5062>", "Contact Is Not One SIP URI"],
  ["header fields (table 1)", "<sip:alice@192.0.2.50:5062?Subject=x>", "Contact Is Not One SIP URI"],
  ["a sips URI by UDP (§26.2.2)", "<sips:alice@192.0.2.50:5062>", "A sips Contact Needs TLS"],
  ["a transport that nobody has here", "<sip:alice@192.0.2.50:5062;transport=sctp>", "Contact Cannot Be Reached"],
  ["a peer within the relay", "<sip:shop@[100::1:2:3:4];transport=http>", "Contact Cannot Be Reached"],
  ["a number that is no name", "<sip:alice@3221225522:5062>", "Contact Cannot Be Reached"],
];

const USABLE: [what: string, contact: string][] = [
  ["an address without brackets", "sip:alice@192.0.2.50:5062"],
  ["no user part", "<sip:192.0.2.50:5062>"],
  ["a name with a comma", '"Doe, Alice" <sip:alice@192.0.2.50:5062>;expires=60'],
  ["a host name", "<sip:alice@pc.example.com>"],
  ["a transport", "<sip:alice@192.0.2.50:5062;transport=tcp>"],
];

/** What the log says, but for the directory that is loaded. */
function logged(): { lines: string[]; options: Pick<LabOptions, "log"> } {
  const lines: string[] = [];
  return {
    lines,
    options: {
      log: pino(
        { level: "info" },
        { write: (line: string) => void (line.includes("directory loaded") || lines.push(line)) },
      ),
    },
  };
}

const nobodyWasAsked = (l: Lab) => {
  expect(l.server("a").inbox).toEqual([]);
  expect(l.core.sessions.size + l.core.requests.size + l.core.legs.size).toBe(0);
};

describe("an INVITE without a Contact that can be used (RFC 3261 §8.1.1.8, §12.1.1)", () => {
  it("gets 400 where it has none: the client would never hear the hang-up", async () => {
    const { lines, options } = logged();
    const l = await lab(options);
    l.client.contact = "";
    l.client.invite();
    expect(l.client.response(400).reason).toBe("Missing Contact");
    nobodyWasAsked(l);
    expect(l.core.counters.rejected).toBe(1);
    expect(JSON.parse(lines[0]!)).toMatchObject({ why: "Missing Contact", from: "udp/192.0.2.50:5062" });
  });

  it.each(UNUSABLE)("gets 400 where it is %s", async (_what, contact, reason) => {
    const l = await lab();
    l.client.contact = contact;
    l.client.invite();
    expect(l.client.response(400).reason).toBe(reason);
    nobodyWasAsked(l);
  });

  it("gets 400 where there are two lines of it", async () => {
    const l = await lab();
    l.client.invite({ headers: [["Contact", "<sip:alice@192.0.2.51>"]] });
    expect(l.client.response(400).reason).toBe("More Than One Contact");
    nobodyWasAsked(l);
  });

  it.each(USABLE)("is asked for with %s", async (_what, contact) => {
    const l = await lab();
    l.client.contact = contact;
    l.client.invite();
    l.server("a").request("INVITE");
  });

  it("is asked for where another way leads to the client: its own connection, a NAT, a proxy", async () => {
    const browser = "<sip:abc@x.invalid;transport=ws>";
    const tcp = await lab({ clientTransport: "tcp" });
    tcp.client.contact = browser;
    tcp.client.invite();
    tcp.server("a").request("INVITE");
    const l = await lab();
    l.client.contact = browser;
    l.client.invite({ headers: [["Record-Route", "<sip:192.0.2.60;lr>"]] });
    l.server("a").request("INVITE");
    l.client.flow.remoteAddress = "198.51.100.7";
    l.client.invite();
    l.server("a").request("INVITE");
  });

  it.each([
    "<tel:+1>",
    "<sips:192.0.2.60;transport=udp;lr>",
    "<sip:192.0.2.60;transport=sctp;lr>",
    "<sip:1;lr>",
    "nonsense",
  ])("gets 400 where the first proxy on the way to it is %s", async (route) => {
    const l = await lab();
    l.client.invite({ headers: [["Record-Route", `${route}, <sip:192.0.2.61;lr>`]] });
    expect(l.client.response(400).reason).toBe("Record-Route Cannot Be Reached");
    nobodyWasAsked(l);
  });

  it("is challenged like any other before that (RFC 3261 §8.2)", async () => {
    const l = await lab();
    l.core.authenticator.challengesFor = () => ["Digest x"];
    l.client.contact = "";
    l.client.invite();
    l.client.response(401);
  });
});

describe("a REFER outside of a session, which opens a dialog (RFC 3515 §2.2)", () => {
  it.each([["", "Missing Contact"], ...UNUSABLE.slice(0, 2).map(([, contact, reason]) => [contact, reason])])(
    "gets 400 with Contact %j",
    async (contact, reason) => {
      const l = await lab();
      const { invite, answer } = await establish(l);
      const target = `${invite.callId};local-tag=${invite.fromTag};remote-tag=${answer.toTag}`;
      const refer = l.client.outside("REFER", [
        ["Refer-To", "<sip:service1@portal.com>"],
        ["Target-Dialog", target],
        ...(contact === "" ? [] : [["Contact", contact] as [string, string]]),
      ]);
      expect(l.client.response(400).reason).toBe(reason);
      expect(refer.callId).not.toBe(invite.callId);
      expect(l.core.transfers.size).toBe(0);
    },
  );
});

describe("a request within a session whose Contact cannot be used (RFC 3261 §12.2.2)", () => {
  for (const side of ["client", "server"] as const) {
    it.each(UNUSABLE)(
      `gets 400 from the ${side} where it is %s, and the session goes on as it was`,
      async (_what, contact, reason) => {
        const l = await lab();
        const { invite, answer, server, inviteAtServer, answerOfServer } = await establish(l);
        const peer = side === "client" ? l.client : server;
        const [one, other] =
          side === "client" ? ([invite, answer] as const) : ([inviteAtServer, answerOfServer] as const);
        let seq = 2;
        for (const method of ["INVITE", "UPDATE", "NOTIFY", "REFER", "SUBSCRIBE"]) {
          peer.contact = "";
          const extra = { headers: [["Contact", contact]] as [string, string][] };
          if (side === "client") peer.inDialog(method, one, other, seq++, extra);
          else peer.backInDialog(method, one, other, seq++, extra);
          expect(`${method} ${peer.response(400).reason}`).toBe(`${method} ${reason}`);
        }
        expect([...l.client.inbox, ...server.inbox]).toEqual([]);
        if (side === "client") server.backInDialog("BYE", inviteAtServer, answerOfServer, 1);
        else l.client.inDialog("BYE", invite, answer, 2);
        expect(peer.request("BYE").uri).toBe(`sip:peer@${peer.address}:${peer.port}`);
      },
    );
  }

  it("is taken without any: the target stays (RFC 3261 §12.2.2)", async () => {
    const l = await lab();
    const { invite, answer, server, inviteAtServer, answerOfServer } = await establish(l);
    l.client.contact = "";
    l.client.inDialog("UPDATE", invite, answer, 2);
    server.answer(server.request("UPDATE"), 200);
    l.client.response(200);
    server.backInDialog("BYE", inviteAtServer, answerOfServer, 1);
    expect(l.client.request("BYE").uri).toBe("sip:peer@192.0.2.50:5062");
  });

  it("is taken where the method says nothing of targets, whatever its Contact is", async () => {
    const l = await lab();
    const { invite, answer, server } = await establish(l);
    l.client.inDialog("OPTIONS", invite, answer, 2, { headers: [["Contact", "<tel:+1>"]] });
    server.answer(server.request("OPTIONS"), 200);
    l.client.response(200);
  });

  it("gets 400 in an early dialog too", async () => {
    const l = await lab();
    const invite = l.client.invite();
    const server = l.server("a");
    server.answer(server.request("INVITE"), 180, { tag: "early" });
    const ringing = l.client.response(180);
    l.client.contact = "<tel:+1>";
    l.client.inDialog("UPDATE", invite, ringing, 2);
    l.client.response(400);
  });
});

describe("an answer without a Contact that can be used", () => {
  it.each([
    ["", "none"],
    ...UNUSABLE.filter(([what]) => what !== "two URIs").map(([what, contact]) => [contact, what]),
  ])(
    "with Contact %j (%s): the app server is spoken to where it was asked, so that it hears ACK and BYE, and the log says so",
    async (contact) => {
      const { lines, options } = logged();
      const l = await lab(options);
      l.server("a").contact = contact;
      const { invite, answer, server, ack } = await establish(l);
      expect(ack.uri).toBe("sip:192.0.2.100:5060");
      l.client.inDialog("BYE", invite, answer, 2);
      expect(server.request("BYE").uri).toBe("sip:192.0.2.100:5060");
      expect(lines.filter((line) => line.includes("no Contact that can be used"))).toHaveLength(1);
    },
  );

  it("changes no target that is there, as an answer to a re-INVITE or UPDATE", async () => {
    const l = await lab();
    const { server, inviteAtServer, answerOfServer } = await establish(l);
    l.client.contact = "<tel:+1>";
    server.backInDialog("UPDATE", inviteAtServer, answerOfServer, 1);
    l.client.answer(l.client.request("UPDATE"), 200, { headers: [["Contact", "<tel:+1>"]] });
    server.response(200);
    server.backInDialog("INVITE", inviteAtServer, answerOfServer, 2);
    l.client.answer(l.client.request("INVITE"), 200);
    server.ack(inviteAtServer, server.response(200));
    server.backInDialog("BYE", inviteAtServer, answerOfServer, 3);
    const told = l.client.inbox.filter((message) => message.isRequest).map(({ method, uri }) => `${method} ${uri}`);
    expect(told.at(-1)).toBe("BYE sip:peer@192.0.2.50:5062");
  });
});

describe("a sips URI where there is no TLS (RFC 3261 §26.2.2)", () => {
  it.each(["udp", "tcp"] as const)("gets 416 by %s: it was not secured on its way", async (clientTransport) => {
    const l = await lab({ clientTransport });
    l.client.invite({ uri: "sips:service1@portal.com" });
    l.client.response(416);
    nobodyWasAsked(l);
    l.client.outside("OPTIONS", [], "sips:portal.com");
    l.client.response(416);
  });

  it("gets 416 as the target of a REFER", async () => {
    const l = await lab();
    const { invite, answer } = await establish(l);
    l.client.inDialog("REFER", invite, answer, 2, { headers: [["Refer-To", "<sips:service1@portal.com>"]] });
    l.client.response(416);
    expect(l.core.transfers.size).toBe(0);
  });

  it("passes that check where the connection is secured, and gets 480 where the next hop would not be", async () => {
    const l = await lab({ clientTransport: "tcp" });
    Object.assign(l.client.flow, { secure: true });
    l.client.contact = "<sips:alice@192.0.2.50:5062>";
    l.client.invite({ uri: "sips:service1@portal.com" });
    expect(l.client.response(480).headers.all("warning")[0]).toBe('380 tollgate "SIPS Not Allowed"');
    nobodyWasAsked(l);
  });
});
