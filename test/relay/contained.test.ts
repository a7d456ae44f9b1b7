import { describe, expect, it } from "vitest";
import { contained } from "../../src/relay/model/contained.ts";
import { establish, lab } from "./harness.ts";

/*
 * Decision 13: a fault in one session ends that session and nothing else, also where it comes out of a promise that
 * nobody awaits. Vitest itself goes red at one that nobody has caught.
 */

const CHARGE = "application/vnd.tollgate.charge+json";
const BODY = JSON.stringify({
  charges: [{ id: "1", item: "Riesling", unitPrice: "1", quantity: "1", currency: "EUR" }],
});
const prepaid = (balance = "10") =>
  lab({ clientTransport: "tcp", balance, tariff: { price: "0.10", incrementS: 10 }, session: { probeS: 0 } });

const broken = (): never => {
  throw new Error("a fault");
};

describe("a fault in a promise that nobody awaits", () => {
  it("ends a prepaid session where its hold is renewed: it does not go on unmetered", async () => {
    const l = await prepaid();
    await establish(l);
    const [session] = l.core.sessions.values();
    Object.defineProperty(session!.credit!, "elapsedMs", { get: broken });
    l.clock.advance(55_000);
    await l.settle();
    expect(l.client.request("BYE")).toBeDefined();
    expect(l.server("a").request("BYE")).toBeDefined();
    expect(l.core.sessions.size).toBe(0);
    expect(l.core.counters.crashed).toBe(1);
    expect(l.events.filter(({ type }) => type === "session.ended")).toMatchObject([{ endedBy: "relay: fault" }]);
  });

  it("ends the request that asks for credit, with 500", async () => {
    const l = await prepaid("0");
    Object.defineProperty(l.core.counters, "creditRefused", { get: broken });
    l.client.invite();
    await l.settle();
    l.client.response(500);
    expect(l.core.requests.size).toBe(0);
    expect(l.core.counters.crashed).toBe(1);
  });

  it("ends the session in which charges could not be answered for, and the app server hears 500", async () => {
    const l = await lab({ clientTransport: "tcp" });
    const { inviteAtServer, answerOfServer } = await establish(l);
    const [session] = l.core.sessions.values();
    session!.charges.book.enter = () => Promise.reject(new Error("a fault"));
    l.server("a").backInDialog("INFO", inviteAtServer, answerOfServer, 1, { type: CHARGE, body: BODY });
    await l.settle();
    l.server("a").response(500);
    expect(l.core.sessions.size).toBe(0);
    expect(l.core.counters.crashed).toBe(1);
  });

  it("ends nothing where the session is over already, and is counted all the same", async () => {
    const l = await lab({ clientTransport: "tcp" });
    await establish(l);
    const [session] = l.core.sessions.values();
    session!.end({ code: "stops" });
    l.client.request("BYE");
    await l.settle();
    session!.close();
    await contained(l.core, Promise.reject(new Error("too late")), session);
    expect(l.core.counters.crashed).toBe(1);
  });
});
