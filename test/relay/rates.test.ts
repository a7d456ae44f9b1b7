import { describe, expect, it } from "vitest";
import { SourceRates } from "../../src/support/source-rates.ts";
import { establish, lab } from "./harness.ts";

describe("the rate of a source (decision 14)", () => {
  it("is counted for each address and second", () => {
    const rates = new SourceRates(2);
    expect([rates.take("a", 0), rates.take("a", 1), rates.take("a", 999), rates.take("b", 999)]).toEqual([
      true,
      true,
      false,
      true,
    ]);
    expect(rates.take("a", 1_000)).toBe(true);
  });

  it("is not limited by 0", () => {
    const rates = new SourceRates(0);
    for (let i = 0; i < 10_000; i++) expect(rates.take("a", 0)).toBe(true);
  });

  it("counts sources beyond its table together, and does not grow", () => {
    const rates = new SourceRates(3);
    for (let i = 0; i < 50_000; i++) rates.take(`source ${i}`, 0);
    expect([1, 2, 3, 4].map((i) => rates.take(`late ${i}`, 0))).toEqual([true, true, true, false]);
  });

  it("over it, nothing is sent to an address that may be forged, and a session that runs can still end", async () => {
    const l = await lab({ limits: { perSourcePerSecond: 1 } });
    const { invite, answer, server } = await establish(l);
    l.clock.advance(1_000);
    for (let i = 0; i < 5; i++) l.client.invite();
    server.request("INVITE");
    expect(l.client.inbox).toEqual([]);
    expect(l.transactions.stats.overRate).toBe(4);
    l.client.inDialog("BYE", invite, answer, 2);
    server.request("BYE");
    l.clock.advance(1_000);
    l.client.invite();
    server.request("INVITE");
  });

  it("over it, new requests on a connection get 503 with Retry-After", async () => {
    const l = await lab({ limits: { perSourcePerSecond: 1 }, clientTransport: "tcp" });
    await establish(l);
    l.client.invite();
    expect(l.client.response(503).headers.get("retry-after")).toBe("5");
  });
});
