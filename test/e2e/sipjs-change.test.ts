import { describe, expect, it } from "vitest";
import type { AppSession, ServiceHandler } from "../../src/sdk/index.ts";
import { until } from "../support/until.ts";
import { accepts, billed, openHouses } from "./houses.ts";
import { DOMAIN, USER } from "./portal.ts";

/*
 * Fig. 8 on SIP.js: wine becomes beer within a session, asked for by the client or the app server, at the same app
 * server or another (M20-M22).
 */

describe("a client on SIP.js", () => {
  it.each(["INVITE", "UPDATE"] as const)(
    "makes beer of wine at the same app server by %s, back again, and hangs up (M20)",
    async (method) => {
      const sessions: AppSession[] = [];
      const { portal, alice } = await openHouses({
        wine: accepts("http://wine/", sessions),
        beer: accepts("http://beer/", sessions),
      });
      const session = await alice.request("wine");
      await session.change("beer", { method });
      expect([session.service, session.access]).toEqual(["beer", "http://beer/"]);
      await until(() => sessions.length === 2);
      expect(sessions[1]).toBe(sessions[0]);
      expect(sessions[0]!.service).toBe("beer");
      const part = sessions[0]!.tollgateSession;
      await sessions[0]!.charge({ item: "Glass", unitPrice: "1.00", currency: "EUR" });
      await session.change({ description: '<service name="wine"/>' }, { method });
      expect([session.service, session.access]).toEqual(["wine", "http://wine/"]);
      await until(() => sessions[0]!.service === "wine");
      expect(sessions[0]!.tollgateSession).not.toBe(part);
      expect(await session.end()).toMatchObject({ by: "local", status: 200 });
      expect(await billed(portal)).toEqual({
        sessions: ["beer by server0: 0.20, Glass 1.00", "wine by server0: 0.00", "wine by server0: 0.10"],
        calls: ["wine > beer > wine: 1.30"],
      });
    },
  );

  it.each(["INVITE", "UPDATE"] as const)(
    "makes beer of wine at another app server by %s; the first one is left (M21, fig. 8)",
    async (method) => {
      const [vintner, brewer]: [AppSession[], AppSession[]] = [[], []];
      const { portal, alice } = await openHouses(
        { wine: accepts("http://wine/", vintner) },
        { beer: accepts("http://beer/", brewer) },
      );
      const session = await alice.request("wine");
      await until(() => vintner.length === 1);
      vintner[0]!.onEnd(() => [{ item: "Corkage", unitPrice: "2.00", currency: "EUR" }]);
      await session.change("beer", { method });
      expect([session.service, session.access]).toEqual(["beer", "http://beer/"]);
      expect(await vintner[0]!.ended).toMatchObject({ by: "remote", reason: expect.stringContaining("changed") });
      expect(await session.end()).toMatchObject({ by: "local", status: 200 });
      expect(await brewer[0]!.ended).toMatchObject({ by: "remote" });
      expect(await billed(portal)).toEqual({
        sessions: ["beer by server1: 0.20", "wine by server0: 0.10, Corkage 2.00"],
        calls: ["wine > beer: 2.30"],
      });
    },
  );

  it("is told why a change is refused, and its session goes on as it was (RFC 6141)", async () => {
    const sessions: AppSession[] = [];
    const { portal, alice } = await openHouses(
      { wine: accepts("http://wine/", sessions), beer: (request) => request.refuse(486) },
      { rum: (request) => request.refuse(403, "No Rum Before Four") },
    );
    const session = await alice.request("wine");
    await expect(session.change("beer")).rejects.toMatchObject({ status: 486 });
    await expect(session.change("beer", { method: "UPDATE" })).rejects.toMatchObject({ status: 486 });
    await expect(session.change("rum")).rejects.toMatchObject({ status: 403, reason: "No Rum Before Four" });
    await expect(session.change("nothing")).rejects.toMatchObject({ status: 404 });
    expect([session.service, session.access, sessions[0]!.service]).toEqual(["wine", "http://wine/", "wine"]);
    await session.end();
    expect((await billed(portal)).sessions).toEqual(["wine by server0: 0.10"]);
  });

  it("waits for one change before the next: 491 (RFC 3261 §14.1)", async () => {
    const { alice } = await openHouses({ wine: accepts("http://wine/"), beer: accepts("http://beer/") });
    const session = await alice.request("wine");
    const first = session.change("beer");
    await expect(session.change("wine")).rejects.toMatchObject({ status: 491 });
    await first;
    expect(await session.end()).toMatchObject({ status: 200 });
  });

  it.each([
    ["the same", "sake"],
    ["another", "beer"],
  ])("gives a change up that waits at %s app server: it is cancelled there, and the session goes on", async (_, to) => {
    const asked: AbortSignal[] = [];
    const waits: ServiceHandler = ({ signal }) => void asked.push(signal);
    const { portal, alice } = await openHouses({ wine: accepts("http://wine/"), sake: waits }, { beer: waits });
    const session = await alice.request("wine");
    const abort = new AbortController();
    const change = expect(session.change(to, { signal: abort.signal })).rejects.toMatchObject({ status: 487 });
    await until(() => asked.length === 1);
    abort.abort();
    await change;
    await until(() => asked[0]!.aborted);
    await expect(session.change(to, { signal: abort.signal })).rejects.toMatchObject({ status: 487 });
    expect(session.service).toBe("wine");
    expect(await session.end()).toMatchObject({ status: 200 });
    expect((await billed(portal)).sessions).toEqual(["wine by server0: 0.10"]);
  });

  it("hangs up while a change is asked for: the change comes to nothing, for both ends", async () => {
    let asked!: (signal: AbortSignal) => void;
    const asking = new Promise<AbortSignal>((resolve) => {
      asked = resolve;
    });
    const { portal, alice } = await openHouses({ wine: accepts("http://wine/"), beer: ({ signal }) => asked(signal) });
    const session = await alice.request("wine");
    const change = session.change("beer").catch((error: unknown) => error);
    const signal = await asking;
    expect(await session.end()).toMatchObject({ status: 200 });
    expect(await change).toMatchObject({ status: 487 });
    await until(() => signal.aborted);
    expect((await billed(portal)).sessions).toEqual(["wine by server0: 0.10"]);
  });
});

describe("an app server on SIP.js", () => {
  async function standing() {
    const sessions: AppSession[] = [];
    const { portal, alice } = await openHouses(
      { wine: accepts("http://wine/", sessions), beer: accepts("http://beer/") },
      { rum: accepts("http://rum/") },
    );
    const session = await alice.request("wine");
    await until(() => sessions.length === 1);
    return { portal, session, app: sessions[0]! };
  }

  it.each(["INVITE", "UPDATE"] as const)("changes to what it offers too, by %s (M22)", async (method) => {
    const { portal, session, app } = await standing();
    const part = app.tollgateSession;
    await app.change({ description: '<service name="beer"/>' }, { method });
    expect(app.service).toBe("beer");
    expect(app.tollgateSession).not.toBe(part);
    await until(() => session.service === "beer");
    await app.charge({ item: "Glass", unitPrice: "1.00", currency: "EUR" });
    expect(await session.end()).toMatchObject({ status: 200 });
    expect(await billed(portal)).toEqual({
      sessions: ["beer by server0: 0.20, Glass 1.00", "wine by server0: 0.10"],
      calls: ["wine > beer: 1.30"],
    });
  });

  it("cannot change where the client says no, or to what it does not offer; the session goes on", async () => {
    const { portal, session, app } = await standing();
    const seen: unknown[] = [];
    session.onChange((request) => {
      seen.push([request.service, request.description?.content]);
      request.refuse(488);
    });
    await expect(app.change("beer")).rejects.toMatchObject({ status: 488 });
    await expect(app.change("beer", { method: "UPDATE" })).rejects.toMatchObject({ status: 488 });
    await expect(app.change("rum")).rejects.toMatchObject({ status: 403 });
    expect(seen).toEqual([
      ["beer", '<service name="beer"/>'],
      ["beer", '<service name="beer"/>'],
    ]);
    expect([session.service, app.service]).toEqual(["wine", "wine"]);
    expect(await app.end()).toMatchObject({ status: 200 });
    expect((await billed(portal)).sessions).toEqual(["wine by server0: 0.10"]);
  });

  it("decides by onChange what becomes of a session; a handler that throws refuses with 500, and nothing changes", async () => {
    const { session, app } = await standing();
    const users: string[] = [];
    app.onChange(async (request) => {
      users.push(`${request.user} ${request.service}`);
      const same = await request.accept({ body: "come in", contentType: "text/plain" });
      expect(same).toBe(app);
    });
    await session.change("beer");
    expect([session.access, session.answer?.content]).toEqual([undefined, "come in"]);
    app.onChange(() => {
      throw new Error("broken");
    });
    await expect(session.change("wine")).rejects.toMatchObject({ status: 500 });
    expect(users).toEqual([`sip:${USER}@${DOMAIN} beer`]);
    await session.end();
  });
});
