import { once } from "node:events";
import { afterEach, describe, expect, it } from "vitest";
import { WebSocket } from "ws";
import { type InspectServer, serveInspector } from "../../src/console/inspect.ts";
import { establish, lab } from "../relay/harness.ts";
import { until } from "../support/until.ts";

let server: InspectServer | undefined;
afterEach(async () => {
  await server?.close();
  server = undefined;
});

interface Told {
  readonly type: string;
  readonly sessionId: string;
  readonly name?: string;
  readonly definition?: string;
  readonly event?: { readonly type: string };
  readonly snapshot?: { readonly value: unknown; readonly status: string };
}

describe("Stately's inspector protocol (P5)", () => {
  it("tells of each actor with its chart, and of each event and state; of no context, and of no message", async () => {
    const l = await lab();
    server = await serveInspector(l.core.inspectors, 0);
    expect(l.core.inspectors.size).toBe(0); // nobody looks yet
    const socket = new WebSocket(`ws://127.0.0.1:${server.port}`);
    const texts: string[] = [];
    socket.on("message", (data) => texts.push(String(data)));
    await once(socket, "open");
    await until(() => l.core.inspectors.size > 0);
    await establish(l);
    while (!texts.some((text) => text.includes("client.ack"))) await once(socket, "message");
    const told = texts.map((text) => JSON.parse(text) as Told);
    const actors = told.filter(({ type }) => type === "@xstate.actor");
    expect(actors.map(({ name }) => name!.split(":")[0])).toEqual(["request", "session"]);
    expect(JSON.parse(actors[0]!.definition!)).toMatchObject({ id: "request", initial: "authenticating" });
    expect(told.filter(({ type }) => type === "@xstate.event").map(({ event }) => event!.type)).toContain(
      "server.answer",
    );
    expect(told.at(-1)!.snapshot ?? told.at(-2)!.snapshot).toBeDefined();
    expect(texts.join()).not.toContain("sip:");
    socket.close();
    await once(socket, "close");
    await until(() => l.core.inspectors.size === 0);
  });

  it("lets no page of others look on (RFC 6455 §10.2)", async () => {
    server = await serveInspector(new Set(), 0);
    const refused = new WebSocket(`ws://127.0.0.1:${server.port}`, { origin: "https://evil.example" });
    await expect(once(refused, "open")).rejects.toThrow("401");
    const taken = new WebSocket(`ws://127.0.0.1:${server.port}`, { origin: "http://localhost:3000" });
    await once(taken, "open");
    taken.terminate();
  });
});
