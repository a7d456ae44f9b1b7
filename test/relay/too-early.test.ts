import { describe, expect, it } from "vitest";
import type { SipRequest, SipResponse } from "../../src/sip/message.ts";
import { type Lab, lab } from "./harness.ts";

/*
 * Requests in a dialog whose session is not established yet: in the gap between a 2xx and its ACK, and in an early
 * dialog.
 */

const CHARGE = "application/vnd.tollgate.charge+json";
const charge = {
  type: CHARGE,
  body: JSON.stringify({ charges: [{ id: "x", item: "Corkage", unitPrice: "7.00", currency: "EUR" }] }),
};

/** A call that is answered, and the client has not said ACK. */
async function answered() {
  const l = await lab();
  const invite = l.client.invite({ body: "v=0" });
  const server = l.server("a");
  const inviteAtServer = server.request("INVITE");
  const answerOfServer = server.answer(inviteAtServer, 200);
  const answer = l.client.response(200);
  return { l, server, invite, answer, inviteAtServer, answerOfServer };
}

describe("a request that comes too early is not told that its dialog is gone: 500 with Retry-After, or 491", () => {
  const fillings: Record<string, object> = {
    INFO: charge,
    REFER: { headers: [["Refer-To", "<sip:service1@portal.com>"]] },
    "INFO of a package": { headers: [["Info-Package", "menu"]] },
  };
  const methods = ["INFO", "INFO of a package", "UPDATE", "INVITE", "OPTIONS", "MESSAGE", "NOTIFY", "REFER", "UNHEARD"];
  type Early = {
    l: Lab;
    invite: SipRequest;
    answer: SipResponse;
    inviteAtServer: SipRequest;
    answerOfServer: SipResponse;
  };

  async function ringing(): Promise<Early> {
    const l = await lab();
    const invite = l.client.invite({ headers: [["Recv-Info", "menu"]] });
    const inviteAtServer = l.server("a").request("INVITE");
    const answerOfServer = l.server("a").answer(inviteAtServer, 180);
    return { l, invite, answer: l.client.response(180), inviteAtServer, answerOfServer };
  }
  const states: [string, () => Promise<Early>][] = [
    ["before the ACK", answered],
    ["while it rings", ringing],
  ];

  describe.each(states)("%s", (state, begin) => {
    const refused = methods.filter((what) => what !== "UPDATE" || state !== "while it rings"); // that one passes: RFC 3311
    it.each(refused)("%s of the app server", async (what) => {
      const { l, inviteAtServer, answerOfServer } = await begin();
      const method = what.split(" ")[0]!;
      const server = l.server("a");
      server.backInDialog(method, inviteAtServer, answerOfServer, 1, fillings[what]);
      const status = method === "UPDATE" || method === "INVITE" ? 491 : 500; // RFC 3261 §14.2, RFC 3311 §5.2
      if (what === "INFO of a package" && state === "before the ACK") server.response(469);
      else expect(server.response(status).headers.has("retry-after")).toBe(status === 500);
      await l.settle();
      expect(l.events).toEqual([]);
      expect(l.core.sessions.size).toBe(1);
    });

    it.each(refused)("%s of the client", async (what) => {
      const { l, invite, answer } = await begin();
      const method = what.split(" ")[0]!;
      l.client.inDialog(method, invite, answer, 2, fillings[what]);
      if (what === "INFO of a package" && state === "before the ACK") l.client.response(469);
      else expect(l.client.response(500).headers.has("retry-after")).toBe(true);
      expect(l.core.sessions.size).toBe(1);
    });
  });

  it("once the ACK has come it is taken", async () => {
    const { l, server, invite, answer, inviteAtServer, answerOfServer } = await answered();
    server.backInDialog("INFO", inviteAtServer, answerOfServer, 1, charge);
    server.response(500);
    l.client.ack(invite, answer);
    server.request("ACK");
    await l.settle();
    server.backInDialog("INFO", inviteAtServer, answerOfServer, 2, charge);
    await l.settle();
    server.response(200);
    expect(l.events.at(-1)?.type).toBe("charge.made");
  });

  it("from an app server that was given up and has not answered that yet", async () => {
    const { l, invite, inviteAtServer, answerOfServer } = await ringing();
    l.client.cancel(invite);
    l.server("a").request("CANCEL");
    l.server("a").backInDialog("INFO", inviteAtServer, answerOfServer, 1, charge);
    expect(l.server("a").response(500).headers.has("retry-after")).toBe(true);
  });
});
