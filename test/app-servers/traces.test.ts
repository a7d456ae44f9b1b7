import { expect, it, onTestFinished, vi } from "vitest";
import { otlpReceiver, type ReceivedSpan } from "../telemetry/receiver.ts";
import { openLab } from "./lab.ts";
import type { HttpShop } from "./shops.ts";

it("an app server is told of which span its being asked is (W3C Trace Context §3.2), where there are traces", async () => {
  const spans: ReceivedSpan[] = [];
  const receiver = await otlpReceiver(spans).start();
  onTestFinished(() => receiver.stop());
  const telemetry = { otlp: receiver.url, everyS: 0.1 };
  const { alice, shops } = await openLab("http", [{ services: ["wine"] }], { telemetry });
  await (await alice.request("wine")).end();
  const asked = await vi.waitFor(
    () => {
      const found = spans.find(({ kind }) => kind === 3);
      expect(found).toBeDefined();
      return found!;
    },
    { timeout: 10_000, interval: 20 },
  );
  expect((shops[0] as HttpShop).traceparents[0]).toBe(`00-${asked.traceId}-${asked.spanId}-01`);
});

it("an app server is told of no span where there are no traces", async () => {
  const { alice, shops } = await openLab("http", [{ services: ["wine"] }]);
  await (await alice.request("wine")).end();
  expect((shops[0] as HttpShop).traceparents[0]).toBeUndefined();
});
