import { describe, expect, it } from "vitest";
import { HealthChecks } from "../../src/node/health.ts";
import { DroppedMessages } from "../../src/transport/dropped.ts";
import { keptLog } from "../support/lines.ts";
import { lab } from "./harness.ts";

async function silentLab() {
  const { log, of } = keptLog();
  const l = await lab({ log, session: { silentS: 8 }, config: { health: { intervalS: 10, failures: 1 } } });
  const dropped = new DroppedMessages(l.clock, undefined);
  Object.assign(l.core.transport, { dropped });
  return { l, dropped, whys: () => of("app server given up").map(({ why }) => why), of };
}

describe("an app server that is given up: the log says what really happened (decision 19)", () => {
  it("when nothing came from it", async () => {
    const { l, whys } = await silentLab();
    l.client.invite();
    l.server("a").request("INVITE");
    l.clock.advance(8_000);
    expect(whys()).toEqual(["nothing came from 192.0.2.100 that answers the request, within 8 s"]);
  });

  it("when it answered, and that could not be read", async () => {
    const { l, dropped, whys } = await silentLab();
    l.client.invite();
    l.server("a").request("INVITE");
    l.clock.advance(1_000);
    dropped.unreadable(l.server("a").flow, "Bad CSeq", undefined, undefined);
    l.clock.advance(7_000);
    expect(whys()).toEqual(["no answer within 8 s that could be used; what it sent cannot be read: Bad CSeq"]);
  });

  it("when it answered something else", async () => {
    const { l, whys } = await silentLab();
    l.client.invite();
    const invite = l.server("a").request("INVITE");
    const branch = /branch=([^;]+)/.exec(invite.headers.get("via")!)![1]!;
    invite.headers.fields[0] = invite.headers.fields[0]!.with(
      invite.headers.get("via")!.replace(branch, "z9hG4bKother"),
    );
    invite.changed();
    l.server("a").answer(invite, 200);
    l.clock.advance(8_000);
    expect(whys()).toEqual([
      "no answer within 8 s that could be used; a response that belongs to no request under way",
    ]);
  });

  it("when it rang", async () => {
    const { l, whys } = await silentLab();
    l.client.invite();
    l.server("a").answer(l.server("a").request("INVITE"), 180);
    l.clock.advance(180_000);
    expect(whys()).toEqual(["it rang for 180 s and nobody answered"]);
  });

  it("when it said 100 and nothing else", async () => {
    const { l, whys } = await silentLab();
    l.client.invite();
    l.server("a").answer(l.server("a").request("INVITE"), 100);
    l.clock.advance(180_000);
    expect(whys()).toEqual(["it said 100 and nothing more within 180 s"]);
  });

  it("also when it is asked by OPTIONS whether it is there", async () => {
    const { l, dropped, of } = await silentLab();
    const checks = new HealthChecks(l.core);
    checks.start();
    l.server("a").request("OPTIONS");
    dropped.unreadable(l.server("a").flow, "Bad Via", undefined, undefined);
    l.clock.advance(32_000);
    expect(of("app server is down")[0].why).toBe(
      "no answer within 32 s that could be used; what it sent cannot be read: Bad Via",
    );
    checks.stop();
  });
});
