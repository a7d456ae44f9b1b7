import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect, type Msg } from "@nats-io/transport-node";
import { expect, it } from "vitest";
import { openNatsBus } from "../../src/bus/nats.ts";
import { busSchema } from "../../src/bus/settings.ts";
import { systemClock } from "../../src/support/clock.ts";
import { silent } from "../charging/samples.ts";
import { call } from "../contract/calls.contract.ts";
import { messageOf } from "../support/asyncapi.ts";
import { NO_NATS, natsProgram, startNats } from "../support/nats-server.ts";

it("what became of requests is told on NATS, signed, and is no charging event (P5)", { timeout: 30_000 }, async ({
  skip,
}) => {
  skip(natsProgram === undefined, NO_NATS);
  const nats = await startNats();
  const folder = mkdtempSync(join(tmpdir(), "tg-nats-"));
  writeFileSync(join(folder, "secret"), "s".repeat(40));
  const settings = busSchema.parse({ servers: [nats.url], secretFile: join(folder, "secret") })!;
  const bus = await openNatsBus({ settings, clock: systemClock, log: silent });
  const nc = await connect({ servers: nats.url });
  try {
    const heard: Msg[] = [];
    nc.subscribe("tollgate.calls.ended", { callback: (_, message) => void heard.push(message) });
    await nc.flush();
    const handled: unknown[] = [];
    await bus.consume("billing", async (events) => void handled.push(...events));
    expect(bus.tellCalls!([call(1), call(2, { status: 500 })])).toBe(true);
    await expect.poll(() => heard.length).toBe(2);
    const { validate } = messageOf("tollgate.calls.ended");
    for (const message of heard) {
      expect(validate(message.json()), JSON.stringify(validate.errors)).toBe(true);
      expect(message.headers!.get("Tollgate-Signature")).not.toBe("");
    }
    expect(heard[1]!.json()).toMatchObject({ type: "tollgate.call.ended", data: { id: "record0002", status: 500 } });
    await bus.handled!("billing", 5_000);
    expect(handled).toEqual([]);
  } finally {
    await nc.close();
    await bus.close();
    await nats.destroy();
    rmSync(folder, { recursive: true, force: true });
  }
});
