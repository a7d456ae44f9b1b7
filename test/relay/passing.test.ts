import { describe, expect, it } from "vitest";
import { withoutPassword } from "../../src/relay/dialog/passing.ts";
import { snapshot } from "../../src/relay/session/snapshot.ts";
import type { SipRequest } from "../../src/sip/message.ts";
import { serialize } from "../../src/sip/serialize.ts";
import { lab } from "./harness.ts";

describe("a password in From (M2)", () => {
  it.each([
    ["<sip:alice:secret@portal.com>;tag=1", "<sip:alice@portal.com>;tag=1"],
    ["sip:alice:secret@portal.com;tag=1", "sip:alice@portal.com;tag=1"],
    ['"sip:alice:secret@portal.com" <sip:alice:secret@portal.com>', '"sip:alice@portal.com" <sip:alice@portal.com>'],
    ["<sip:alice:sec@ret@portal.com>;tag=1", "<sip:alice@portal.com>;tag=1"],
    ["<SIPS:alice:se:c@r:et@portal.com>", "<SIPS:alice@portal.com>"],
    ["<im:alice:secret@portal.com>", "<im:alice@portal.com>"],
    ["<sip:alice@portal.com>;tag=1", "<sip:alice@portal.com>;tag=1"],
    ["<sip:portal.com:5060>;tag=1", "<sip:portal.com:5060>;tag=1"],
    ['"Alice: me" <sip:alice@portal.com:5060>', '"Alice: me" <sip:alice@portal.com:5060>'],
  ])("does not go on: %s", (written, passed) => {
    expect(withoutPassword(written)).toBe(passed);
  });

  it.each(["<sip:alice:secret@portal.com", "sip:alice:secret@portal.com <", '"a <sip:alice:secret@portal.com>'])(
    "does not go on in a line that cannot be read: %s",
    (written) => {
      expect(withoutPassword(written)).not.toContain("secret");
    },
  );
});

describe("a password in another field than From", () => {
  const WHERE: [what: string, headers: Record<string, string>, uri?: string][] = [
    ["To", { To: "<sip:service1:secret@portal.com>" }],
    ["To of another", { To: "<sip:other:secret@portal.com>" }],
    ["the Request-URI", { To: "<sip:service1@portal.com>" }, "sip:service1:secret@portal.com"],
    ["From and To that cannot be read by everybody", { To: "sip:service1:se@cret@portal.com" }],
    ["Contact", { Contact: "<sip:alice:secret@192.0.2.50>" }],
    ["Reply-To", { "Reply-To": "<sip:alice:secret@portal.com>" }],
    ["P-Preferred-Identity", { "P-Preferred-Identity": "<sip:alice:secret@portal.com>" }],
    ["Referred-By", { "Referred-By": "<sip:alice:secret@portal.com>" }],
    ["History-Info", { "History-Info": "<sip:alice:secret@portal.com>;index=1" }],
  ];

  it.each(WHERE)("reaches no app server, and nothing that is kept: %s", async (_what, headers, uri) => {
    const l = await lab();
    const own: Record<string, string> = { From: "<sip:alice:secret@portal.com>", ...headers };
    const { From, To, Contact, ...more } = own;
    if (Contact !== undefined) l.client.contact = Contact;
    const invite = l.client.invite({
      from: From!,
      headers: Object.entries(more),
      ...(To !== undefined && { to: To }),
      ...(uri !== undefined && { uri }),
    });
    const [at] = l.server("a").inbox.splice(0);
    expect(at?.isRequest).toBe(true);
    expect(serialize(at!).toString("latin1")).not.toMatch(/secret|cret@/);
    l.server("a").answer(at as SipRequest, 200);
    l.client.ack(invite, l.client.response(200));
    await l.settle();
    const session = [...l.core.sessions.values()][0]! as Parameters<typeof snapshot>[0];
    const kept = snapshot(session);
    expect(kept).toBeDefined();
    // A Contact is where the client wants to be reached, and goes back to nobody else.
    if (Contact === undefined) expect(JSON.stringify(kept)).not.toContain("secret");
  });
});
