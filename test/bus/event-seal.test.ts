import { randomBytes } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect, headers } from "@nats-io/transport-node";
import { afterEach, describe, expect, it } from "vitest";
import { toCloudEvent } from "../../src/bus/cloud-events.ts";
import { EventSeal, SIGNATURE, sealOf } from "../../src/bus/event-seal.ts";
import { openNatsBus } from "../../src/bus/nats.ts";
import { openBus } from "../../src/bus/open.ts";
import { busSchema } from "../../src/bus/settings.ts";
import { startBilling } from "../../src/charging/billing/billing.ts";
import { replay } from "../../src/charging/billing/dead-letters.ts";
import { chargeMade, sessionEnded, sessionStarted } from "../../src/charging/events/events.ts";
import { systemClock } from "../../src/support/clock.ts";
import { createLogger } from "../../src/support/logger.ts";
import { MemoryBilling } from "../charging/memory-store.ts";
import { aCharge, facts, JANUARY, silent, wholeSession } from "../charging/samples.ts";
import { NO_NATS, natsProgram, startNats } from "../support/nats-server.ts";
import { describeUnless } from "../support/unless.ts";
import { until } from "../support/until.ts";

const [ours, next, theirs] = [1, 2, 3].map(() => randomBytes(32).toString("hex")) as [string, string, string];

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const clean of cleanups.splice(0).reverse()) await clean();
});

function file(text: string): string {
  const folder = mkdtempSync(join(tmpdir(), "tg-seal-"));
  cleanups.push(() => rmSync(folder, { recursive: true }));
  writeFileSync(join(folder, "secret"), text);
  return join(folder, "secret");
}

describe("keys that the nodes of a cluster share (P3)", () => {
  const [first, second] = ["a".repeat(32), "b".repeat(32)];

  it("are the same at all nodes, others for each purpose and secret, and not the secret", () => {
    const [key] = new EventSeal(first).keys("nonces");
    expect(new EventSeal(first).keys("nonces")).toEqual([key]);
    expect(key).toHaveLength(32);
    expect(key!.toString()).not.toContain("aaaa");
    const all = [key, new EventSeal(first).keys("beats")[0], new EventSeal(second).keys("nonces")[0]];
    expect(new Set(all.map((one) => one!.toString("hex"))).size).toBe(3);
  });

  it("are those of both secrets while one replaces the other, the present one first", () => {
    const [old, swapped] = [new EventSeal(first, [second]), new EventSeal(second, [first])];
    expect(old.keys("nonces")).toEqual([...swapped.keys("nonces")].reverse());
    expect(old.keys("nonces")[0]).toEqual(new EventSeal(first).keys("nonces")[0]);
  });
});

describe("an event's signature", () => {
  const seal = new EventSeal(ours);
  const text = toCloudEvent(sessionStarted(facts(), JANUARY), "urn:x");

  it("is of every octet of the message, its attributes too, and of nobody without the secret", () => {
    const signature = seal.sign(text);
    expect(signature).toMatch(/^v1=[A-Za-z0-9_-]{43}$/);
    expect(seal.problem(text, signature)).toBeUndefined();
    expect(seal.problem(Buffer.from(text), signature)).toBeUndefined();
    expect(seal.problem(text, undefined)).toBe("it is not signed by a relay");
    for (let n = 0; n < text.length; n++) {
      const changed = `${text.slice(0, n)}${String.fromCharCode(text.charCodeAt(n) ^ 1)}${text.slice(n + 1)}`;
      expect(seal.problem(changed, signature)).toBe("its signature is of no relay of this cluster");
    }
    const others = ["", "v1=", "v2=x", signature.slice(3), `${signature}A`, "v1=é", new EventSeal(theirs).sign(text)];
    for (const other of others) expect(seal.problem(text, other)).toBeDefined();
  });

  it("is taken by either of two secrets, while one takes the other's place", () => {
    const [before, after] = [new EventSeal(ours, [next]), new EventSeal(next, [ours])];
    expect(before.problem(text, after.sign(text))).toBeUndefined();
    expect(after.problem(text, before.sign(text))).toBeUndefined();
    expect(new EventSeal(next).problem(text, before.sign(text))).toBeDefined();
  });

  it("comes from a file or the environment, the file first; one that is short or cannot be read is refused", () => {
    const signs = (settings: Parameters<typeof sealOf>[0], env: NodeJS.ProcessEnv = {}) =>
      sealOf(settings, env)?.sign(text);
    expect(signs({})).toBeUndefined();
    expect(signs({ secretFile: file(`${ours}\n`) }, { TOLLGATE_BUS_SECRET: theirs })).toBe(seal.sign(text));
    expect(signs({}, { TOLLGATE_BUS_SECRET: ours })).toBe(seal.sign(text));
    expect(() => signs({ secretFile: file("short") })).toThrow(/bus\.secretFile: .*32 characters.*openssl rand/);
    expect(() => signs({ secretFile: "/nowhere" })).toThrow(/bus\.secretFile: .*\/nowhere/);
    expect(() => signs({ acceptSecretFile: file(ours) })).toThrow("set that as well");
    const both = sealOf({ secretFile: file(next), acceptSecretFile: file(ours) }, {})!;
    expect(both.problem(text, seal.sign(text))).toBeUndefined();
  });
});

describeUnless(natsProgram ? undefined : NO_NATS)("events over NATS that are signed (P2)", () => {
  async function start(secret: string | undefined, more: NodeJS.ProcessEnv = {}) {
    const nats = await startNats();
    cleanups.push(() => nats.destroy());
    const nc = await connect({ servers: `127.0.0.1:${nats.port}` });
    cleanups.push(() => nc.close());
    const lines: string[] = [];
    const log = createLogger({ level: "trace", pretty: false, to: { write: (line: string) => void lines.push(line) } });
    const open = async (env: NodeJS.ProcessEnv) => {
      const bus = await openNatsBus({ settings: busSchema.parse(nats.url)!, clock: systemClock, log, env });
      cleanups.push(() => bus.close());
      return bus;
    };
    const bus = await open({ ...(secret && { TOLLGATE_BUS_SECRET: secret }), ...more });
    const store = new MemoryBilling();
    const worker = await startBilling({ bus, store: { billing: store }, clock: systemClock, log });
    cleanups.push(() => worker.stop());
    const publish = (data: string | Uint8Array, signature?: string, id?: string) => {
      const head = headers();
      if (signature !== undefined) head.set(SIGNATURE, signature);
      if (id !== undefined) head.set("Nats-Msg-Id", id);
      nc.publish("tollgate.events.charge.made", data, { headers: head });
    };
    return { bus, store, publish, lines, open, nc };
  }
  const bobs = chargeMade(facts({ user: "bob" }), JANUARY, aCharge(), "info");
  const text = toCloudEvent(bobs, "urn:x");

  it("are billed; what no relay has signed is with the dead letters, and on no bill, nor kept for rebill", async ({
    skip,
  }) => {
    skip(!natsProgram, NO_NATS);
    const { bus, store, publish, lines } = await start(ours);
    const signature = new EventSeal(ours).sign(text);
    publish(text);
    publish(text.replace('"bob"', '"bub"'), signature);
    publish(text, new EventSeal(theirs).sign(text));
    publish("no event");
    await bus.publish(wholeSession(facts(), 61_000, [aCharge()]));
    await until(() => store.lines.size === 2 && store.letters.size === 4);
    expect([...store.lines.values()].map(({ user }) => user)).toEqual(["alice", "alice"]);
    expect([...store.letters.values()].map(({ reason, untrusted }) => [reason, untrusted])).toEqual([
      ["it is not signed by a relay", true],
      ["its signature is of no relay of this cluster", true],
      ["its signature is of no relay of this cluster", true],
      ["it is not signed by a relay", true],
    ]);
    expect([...store.archive.values()].flat().map(({ session }) => session.user)).toEqual(["alice", "alice"]);
    const how = { store: { billing: store }, clock: systemClock, log: silent };
    const letter = [...store.letters.values()][0]!;
    expect(await replay(how, letter)).toEqual({ ok: false, error: "no relay has signed it: anybody may have made it" });
    expect(store.letters.get(letter.id)).toEqual(letter);
    // Who has the event, and the relay's signature of it, can send it again: that bills nothing twice.
    const again = toCloudEvent(sessionEnded(facts(), JANUARY, JANUARY + 61_000, "client"), "urn:y");
    publish(again, new EventSeal(ours).sign(again));
    publish("the last");
    await until(() => store.letters.size === 5);
    expect(store.lines.size).toBe(2);
    for (const line of lines) expect(line).not.toContain(ours);
  });

  it("are taken by either of two secrets, whichever node has which first", async () => {
    const { store, open } = await start(ours, { TOLLGATE_BUS_ACCEPT_SECRET: next });
    const other = await open({ TOLLGATE_BUS_SECRET: next, TOLLGATE_BUS_ACCEPT_SECRET: ours });
    await other.publish(wholeSession(facts(), 61_000));
    await until(() => store.lines.size === 1);
    expect(store.letters.size).toBe(0);
  });

  it("cannot be kept from billing by sending something else under their ids before (JetStream drops repetitions)", async () => {
    const { bus, store, publish } = await start(ours);
    const [started, ended] = wholeSession(facts(), 61_000);
    publish("instead", undefined, ended!.id);
    await until(() => store.letters.size === 1);
    await bus.publish([started!, ended!]);
    await bus.publish([started!, ended!]); // again, as a journal does that was not answered
    await until(() => store.lines.size === 1);
  });

  it("are everybody's without a secret, which a line at the start says", async () => {
    const { store, publish, lines, nc } = await start(undefined);
    publish(text);
    await until(() => store.lines.size === 1);
    const [log, url] = [
      createLogger({ level: "warn", pretty: false, to: { write: (line) => void lines.push(line) } }),
      `nats://${nc.getServer()}`,
    ];
    lines.length = 0;
    for (const settings of [busSchema.parse(url), busSchema.parse({ servers: url, secretFile: file(ours) })]) {
      const bus = await openBus({ settings, clock: systemClock, log });
      await bus.close();
    }
    expect(lines.filter((line) => line.includes("events are not signed"))).toHaveLength(1);
  });
});
