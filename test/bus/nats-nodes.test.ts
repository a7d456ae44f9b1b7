import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect, type Msg } from "@nats-io/transport-node";
import { afterEach, describe, expect, it } from "vitest";
import { openNatsBus } from "../../src/bus/nats.ts";
import { busSchema } from "../../src/bus/settings.ts";
import type { Bus } from "../../src/bus/types.ts";
import { sessionStarted } from "../../src/charging/events/events.ts";
import { systemClock } from "../../src/support/clock.ts";
import type { Logger } from "../../src/support/log.ts";
import { deferred, facts, JANUARY, silent } from "../charging/samples.ts";
import { keptLog } from "../support/lines.ts";
import { type NatsServer, NO_NATS, natsProgram, startNats } from "../support/nats-server.ts";

const closers: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

function natsTest(
  title: string,
  act: (open: (settings?: object, log?: Logger) => Promise<Bus>, nats: NatsServer) => Promise<void>,
): void {
  it(title, { timeout: 30_000 }, async ({ skip }) => {
    skip(natsProgram === undefined, NO_NATS);
    const nats = await startNats();
    closers.push(() => nats.destroy());
    const open = async (settings?: object, log: Logger = silent) => {
      const bus = await openNatsBus({
        settings: busSchema.parse(settings ?? nats.url)!,
        clock: systemClock,
        log,
        connectAgainMs: 20,
      });
      closers.push(() => bus.close());
      return bus;
    };
    await act(open, nats);
  });
}

const event = (n: number) => sessionStarted(facts({ id: `s${n}` }), JANUARY);

describe("what has been handled, on NATS", () => {
  natsTest("is everything that was on the bus when somebody asks, as soon as it is acknowledged", async (open) => {
    const bus = await open();
    await bus.publish([event(1), event(2)]);
    await expect(bus.handled!("billing", 100)).rejects.toThrow("billing is behind"); // nobody consumes yet
    const first = deferred();
    let held = true;
    await bus.consume("billing", async () => {
      if (held) await first.promise;
    });
    await expect(bus.handled!("billing", 100)).rejects.toThrow("billing is behind");
    const later = bus.handled!("billing", 10_000);
    held = false;
    first.resolve();
    await later;
    await bus.handled!("billing", 100);
    await bus.publish([event(3)]);
    await bus.handled!("billing", 10_000);
  });

  natsTest("is not known without a connection", async (open, nats) => {
    const bus = await open();
    await nats.kill();
    await expect(bus.handled!("billing", 100)).rejects.toThrow();
  });
});

describe("nodes that ask each other, on NATS", () => {
  natsTest("are answered by the one of that name, and told where there is none", async (open) => {
    const [one, two] = [await open(), await open()];
    expect(await two.ask!("node01", "hello", 1_000)).toBeUndefined();
    one.answer!("node01", async (question) => `${question}, too`);
    await expect.poll(() => two.ask!("node01", "hello", 1_000)).toBe("hello, too");
    await one.close();
    expect(await two.ask!("node01", "hello", 1_000)).toBeUndefined();
  });

  natsTest("get no answer in time where there is nothing to say, or it takes too long", async (open) => {
    const [one, two] = [await open(), await open()];
    one.answer!("node01", async (question) => {
      if (question === "fault") throw new Error("a fault");
      return undefined;
    });
    await expect.poll(() => two.ask!("node01", "hello", 50).catch(() => "late")).toBe("late");
    await expect(two.ask!("node01", "fault", 50)).rejects.toThrow();
  });

  natsTest("say in the log which questions they do not answer, and why", async (open, nats) => {
    const kept = keptLog();
    const bus = await open(undefined, kept.log);
    bus.answer!("node01", async () => "yes");
    await bus.ask!("nobody", "x", 1_000);
    const nc = await connect({ servers: nats.url });
    closers.push(() => nc.close());
    nc.publish("tollgate.nodes.node01", "x"); // without a reply subject
    nc.publish("tollgate.nodes.node01", "x".repeat(300_000), { reply: "_INBOX.x" });
    await expect
      .poll(() => kept.of("bus: a question that is not answered").map(({ why }) => why))
      .toEqual(["its reply subject is no inbox", "it is longer than 262144 bytes"]);
  });

  natsTest("find each other again when the server was away", async (open, nats) => {
    const [one, two] = [await open(), await open()];
    one.answer!("node01", async () => "yes");
    await nats.kill();
    await expect(two.ask!("node01", "there?", 200)).rejects.toThrow();
    await nats.start();
    const ask = () => two.ask!("node01", "there?", 500).catch(() => undefined);
    await expect.poll(ask, { timeout: 15_000 }).toBe("yes");
  });
});

describe("what nodes tell each other, on NATS", () => {
  natsTest("is heard by all of them, also by the one that tells it, on that topic", async (open) => {
    const [one, two] = [await open(), await open()];
    const heard: string[] = [];
    one.hear!("beats", (text) => void heard.push(`one ${text}`));
    const deafen = two.hear!("beats", (text) => void heard.push(`two ${text}`));
    two.hear!("other", (text) => void heard.push(`other ${text}`));
    // The server has the subscriptions when it answers the next question of each connection.
    await Promise.all([one, two].map((bus) => bus.ask!("nobody", "x", 1_000)));
    expect(one.tell!("beats", "hello")).toBe(true);
    await expect.poll(() => heard.sort()).toEqual(["one hello", "two hello"]);
    deafen();
    await two.ask!("nobody", "x", 1_000);
    one.tell!("beats", "again");
    await expect.poll(() => heard.sort()).toEqual(["one again", "one hello", "two hello"]);
  });

  natsTest("is heard again when the server was away; meanwhile it is not told", async (open, nats) => {
    const [one, two] = [await open(), await open()];
    const heard: string[] = [];
    two.hear!("beats", (text) => void heard.push(text));
    await nats.kill();
    await expect.poll(() => one.tell!("beats", "lost")).toBe(false);
    await nats.start();
    const tellAgain = () => one.tell!("beats", "there") && heard.includes("there");
    await expect.poll(tellAgain, { timeout: 15_000 }).toBe(true);
    expect(heard).not.toContain("lost");
  });

  natsTest("is heard only where a node of the cluster has signed it, for that topic", async (open, nats) => {
    const file = join(mkdtempSync(join(tmpdir(), "tg-told-")), "secret");
    writeFileSync(file, "s".repeat(64));
    closers.push(() => rmSync(file));
    const signing = { servers: [nats.url], secretFile: file };
    const [ours, theirs] = [await open(signing), await open(signing)];
    const stranger = await open();
    const heard: string[] = [];
    ours.hear!("beats", (text) => void heard.push(text));
    ours.hear!("other", (text) => void heard.push(`other ${text}`));
    await ours.ask!("nobody", "x", 1_000);
    const nc = await connect({ servers: nats.url });
    closers.push(() => nc.close());
    const caught: Msg[] = [];
    nc.subscribe("tollgate.nodes.beats", { callback: (_, message) => void caught.push(message) });
    await nc.flush();
    theirs.tell!("beats", "signed");
    await expect.poll(() => caught.length).toBe(1);
    const { headers } = caught[0]!;
    nc.publish("tollgate.nodes.other", "signed", { headers: headers! }); // for another topic
    nc.publish("tollgate.nodes.beats", "changed", { headers: headers! });
    nc.publish("tollgate.nodes.beats", "bare");
    await nc.flush();
    stranger.tell!("beats", "strange");
    await stranger.ask!("nobody", "x", 1_000);
    theirs.tell!("beats", "last");
    await expect.poll(() => heard.at(-1)).toBe("last");
    expect(heard).toEqual(["signed", "last"]);
  });
});
