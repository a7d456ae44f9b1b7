import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { AppSession } from "../../src/sdk/app-api.ts";
import { createChargeClient } from "../../src/sdk/charge-client.ts";
import { established, inDialog, inviteLines, start, wine } from "./app-peer.ts";
import type { Peer } from "./peer.ts";

async function answerTo(relay: Peer, status: string): Promise<string> {
  await relay.next("SIP/2.0 100");
  await relay.next("SIP/2.0 180");
  return relay.next(`SIP/2.0 ${status}`);
}

let printed: string[] = [];
beforeEach(() => {
  printed = [];
  vi.spyOn(console, "error").mockImplementation((...said) => void printed.push(said.map(String).join(" ")));
});
afterEach(() => void vi.restoreAllMocks());

describe("a handler that fails", () => {
  it("is printed, and refuses the request with 500", async () => {
    const { relay } = await start(() => {
      throw new Error("no such shelf");
    });
    relay.send(inviteLines());
    await answerTo(relay, "500");
    expect(printed).toEqual(["tollgate/sdk: a service handler failed (service wine) Error: no such shelf"]);
  });

  it("ends the session that it has accepted, with 500 as the reason (RFC 3326)", async () => {
    const { app, relay } = await start(async (request) => {
      await request.accept();
      throw new Error("no such shelf");
    });
    relay.send(inviteLines());
    const answer = await answerTo(relay, "200");
    relay.send(inDialog(app, answer, "ACK", 1));
    const bye = await relay.next("BYE");
    expect(bye).toContain('Reason: SIP;cause=500;text="the service failed"');
    relay.answer(bye, "200 OK");
    expect(printed).toHaveLength(1);
  });

  it("ends it too where a charge was refused, and nobody took care of that", async () => {
    const { app, relay } = await start(async (request) => {
      const session = await request.accept();
      await session.charge(wine);
    });
    relay.send(inviteLines());
    const answer = await answerTo(relay, "200");
    relay.send(inDialog(app, answer, "ACK", 1));
    relay.answer(await relay.next("INFO"), "403 Forbidden");
    await relay.next("BYE");
    expect(printed.join()).toContain("a service handler failed");
  });

  it("says nothing where the client has hung up meanwhile, nor with logger: false", async () => {
    const { app, relay } = await start(async (request) => {
      const session = await request.accept();
      await session.ended;
      await session.charge(wine);
    });
    relay.send(inviteLines());
    const answer = await answerTo(relay, "200");
    relay.send(inDialog(app, answer, "ACK", 1));
    relay.send(inDialog(app, answer, "BYE", 2));
    await relay.next("SIP/2.0 200");
    const quiet = await start(
      () => {
        throw new Error("no such shelf");
      },
      { logger: false },
    );
    quiet.relay.send(inviteLines());
    await answerTo(quiet.relay, "500");
    expect(printed.join()).not.toContain("handler");
    await quiet.app.close();
  });
});

describe("a relay that is gone", () => {
  it("ends the sessions of its connection, after a time in which it may come back", async () => {
    let session: AppSession | undefined;
    const { app, relay } = await start(
      async (request) => {
        session = await request.accept();
      },
      { reconnectS: 0.05 },
    );
    relay.send(inviteLines());
    const answer = await answerTo(relay, "200");
    relay.send(inDialog(app, answer, "ACK", 1));
    await expect.poll(() => session !== undefined).toBe(true);
    await relay.finish();
    expect(await session!.ended).toEqual({ by: "connection", reason: "the relay is gone" });
    expect(app.sessions).toBe(0);
  });
});

describe("a refusal", () => {
  it("has Retry-After in seconds, and the text of its Warning where there is no body (RFC 3261 §20.33, §20.43)", async () => {
    const { relay, session } = await established();
    const charging = session.charge(wine);
    relay.answer(await relay.next("INFO"), "503 Service Unavailable", [
      "Retry-After: 30 (busy);duration=60",
      'Warning: 399 tollgate "the balance \\"EUR\\" is not known"',
    ]);
    await expect(charging).rejects.toMatchObject({
      status: 503,
      retryAfterS: 30,
      detail: 'the balance "EUR" is not known',
    });
  });

  it("of a charge whose price is a number comes before anything is sent", async () => {
    const { session } = await established();
    const wrong = (over: object) => ({ ...wine, ...over }) as typeof wine;
    await expect(session.charge(wrong({ unitPrice: 24.5 }))).rejects.toThrow(
      'unitPrice: expected a decimal as text, such as "24.50"; found number 24.5',
    );
    await expect(session.charge(wrong({ quantity: 0.75 }))).rejects.toThrow("quantity");
    const client = createChargeClient({ url: "http://127.0.0.1:1", key: "k", secret: "s" });
    await expect(client.charge("s", [wrong({ unitPrice: 1 })])).rejects.toBeInstanceOf(TypeError);
  });
});
