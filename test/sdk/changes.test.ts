import { describe, expect, it } from "vitest";
import { established, inDialog } from "./app-peer.ts";
import { bodyOf, header } from "./peer.ts";

describe("a re-INVITE or UPDATE within a session", () => {
  const gin = ["Tollgate-Service: gin", "Content-Type: text/plain"];
  const contact = "Contact: <sip:127.0.0.1:5060;transport=tcp>";

  it.each(["INVITE", "UPDATE"])("by %s for a service that nobody here serves is refused with 488", async (method) => {
    const { app, relay, answer, session } = await established();
    relay.send(inDialog(app, answer, method, 2, [contact, ...gin]), "gin");
    if (method === "INVITE") await relay.next("SIP/2.0 100");
    await relay.next("SIP/2.0 488");
    expect(session.service).toBe("wine");
  });

  it("without a service is a refresh, if it has no body, and else refused with 488 (RFC 3311 §5.2)", async () => {
    const { app, relay, answer } = await established();
    relay.send(inDialog(app, answer, "UPDATE", 2, [contact]));
    await relay.next("SIP/2.0 200");
    relay.send(inDialog(app, answer, "UPDATE", 3, [contact, "Content-Type: application/sdp"]), "v=0");
    await relay.next("SIP/2.0 488");
    relay.send(inDialog(app, answer, "UPDATE", 1, [contact]));
    await relay.next("SIP/2.0 500"); // RFC 3261 §12.2.2
  });

  it("stands with the ACK; a second one before that gets 500 with Retry-After, BYE makes it come to nothing", async () => {
    const { app, relay, answer, session } = await established();
    let accepted: Promise<unknown> = Promise.resolve();
    session.onChange((request) => {
      accepted = request.accept();
    });
    relay.send(inDialog(app, answer, "INVITE", 2, [contact, ...gin]), "gin");
    await relay.next("SIP/2.0 100");
    // What an operator may demand (`change: confirmed`): it says to what it agrees.
    expect(header(await relay.next("SIP/2.0 200"), "tollgate-service")).toBe("gin");
    expect(session.service).toBe("wine");
    relay.send(inDialog(app, answer, "ACK", 2));
    await accepted;
    expect(session.service).toBe("gin");
    relay.send(
      inDialog(app, answer, "INVITE", 3, [contact, "Tollgate-Service: rum", "Content-Type: text/plain"]),
      "rum",
    );
    await relay.next("SIP/2.0 100");
    await relay.next("SIP/2.0 200");
    relay.send(inDialog(app, answer, "UPDATE", 4, [contact, ...gin]), "gin");
    expect(header(await relay.next("SIP/2.0 500"), "retry-after")).toBeDefined(); // RFC 3261 §14.2
    relay.send(inDialog(app, answer, "BYE", 5));
    await relay.next("SIP/2.0 200");
    await expect(accepted).rejects.toMatchObject({ status: 487 });
    expect(session.service).toBe("gin");
  });

  it("takes a 2xx that comes again for what it is, while the next change is under way", async () => {
    const { relay, session } = await established();
    const first = session.change("beer");
    const ours = await relay.next("INVITE ");
    const agree = () => relay.answer(ours, "200 OK", [contact, "Tollgate-Session: part2"]);
    agree();
    await relay.next("ACK ");
    await first;
    expect([session.service, session.tollgateSession]).toEqual(["beer", "part2"]);
    const second = expect(session.change("wine")).rejects.toMatchObject({ status: 403 });
    const next = await relay.next("INVITE ");
    agree();
    await relay.next("ACK ");
    await expect(session.change("rum")).rejects.toMatchObject({ status: 491 });
    relay.answer(next, "403 Forbidden");
    await relay.next("ACK ");
    await second;
    expect(session.service).toBe("beer");
  });

  it("is refused with 491 while one of ours is under way (RFC 3261 §14.2)", async () => {
    const { app, relay, answer, session } = await established();
    const change = expect(session.change("beer")).rejects.toMatchObject({ status: 403, reason: "Not Your Service" });
    const ours = await relay.next("INVITE ");
    expect(bodyOf(ours)).toBe('<service name="beer"/>');
    relay.send(inDialog(app, answer, "UPDATE", 2, [contact, ...gin]), "gin");
    await relay.next("SIP/2.0 491");
    relay.answer(ours, "403 Not Your Service");
    await relay.next("ACK ");
    await change;
    expect(session.service).toBe("wine");
  });
});
