import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Send } from "../../src/support/http-send.ts";
import { SpanExporter } from "../../src/telemetry/exporter.ts";
import { telemetrySchema } from "../../src/telemetry/settings.ts";
import { JANUARY, silent } from "../charging/samples.ts";
import { call } from "../contract/calls.contract.ts";
import { TestClock } from "../support/test-clock.ts";
import type { TestEndpoint } from "../usage/endpoints.ts";
import { countingSend, fileWith, turnUntil } from "../usage/lab.ts";
import { otlpReceiver, type ReceivedSpan } from "./receiver.ts";

/** Two spans each. */
const record = (n: number) => call(n, { call: `c${n}`, service: "wine" });

let clock: TestClock;
let spans: ReceivedSpan[];
let receiver: TestEndpoint;
let exporter: SpanExporter;

function start(settings: Record<string, unknown> = {}, send?: Send): void {
  const parsed = telemetrySchema.parse({ otlp: receiver.url, ...settings });
  const options = { settings: { ...parsed, otlp: parsed.otlp! }, node: "", clock, log: silent, random: () => 0 };
  exporter = new SpanExporter({ ...options, ...(send && { send }) });
}

beforeEach(async () => {
  clock = new TestClock(JANUARY);
  spans = [];
  receiver = await otlpReceiver(spans).start();
  start();
});
afterEach(async () => {
  await exporter.close();
  await receiver.stop();
  expect(clock.armed).toBe(0);
});

describe("traces to an OTLP receiver", () => {
  it("go out together, some seconds after the requests have ended", async () => {
    for (let n = 0; n < 20; n++) exporter.take(record(n));
    expect(exporter.waiting).toBe(40);
    clock.advance(4_900);
    expect(receiver.given).toEqual([]);
    clock.advance(200);
    await turnUntil(clock, () => exporter.sent === 40, 0);
    expect(receiver.complaints).toEqual([]);
    expect(receiver.given).toHaveLength(1);
    expect(spans).toHaveLength(40);
  });

  it("have what says whose they are, and the header fields of a file", async () => {
    start({ headersFile: fileWith("# of the vendor\nApi-Key: abc 123\n"), serviceName: "portal" });
    exporter.take(record(1));
    await exporter.close();
    expect(receiver.given[0]!.headers).toMatchObject({ "api-key": "abc 123" });
    expect(receiver.given[0]!.body).toContain('{"key":"service.name","value":{"stringValue":"portal"}}');
    expect(() => start({ headersFile: fileWith("nonsense") })).toThrow('line 1: expected "name: value"');
  });

  it("are sent again where the receiver says so, and not where it says that they are wrong", async () => {
    receiver.first.push({ status: 503, headers: { "retry-after": "7" } }, { status: 429 });
    exporter.take(record(1));
    await turnUntil(clock, () => exporter.sent === 2);
    expect(clock.monotonic()).toBeGreaterThanOrEqual(12_000);
    receiver.first.push({ status: 400, body: "no" });
    exporter.take(record(2));
    await turnUntil(clock, () => exporter.dropped === 2);
    expect(receiver.given).toHaveLength(4);
  });

  it("are dropped and counted when the receiver stays away, or says so of some", async () => {
    receiver.first.push({ status: 200, body: { partialSuccess: { rejectedSpans: "1", errorMessage: "too old" } } });
    exporter.take(record(1));
    await turnUntil(clock, () => exporter.sent === 1);
    expect(exporter.dropped).toBe(1);
    await receiver.stop();
    exporter.take(record(2));
    await turnUntil(clock, () => exporter.dropped === 3);
    expect([exporter.sent, exporter.waiting]).toEqual([1, 0]);
    receiver = await otlpReceiver(spans).start();
  });

  it("never become more than the queue holds", async () => {
    start({ queueMost: 100 });
    for (let n = 0; n < 80; n++) exporter.take(record(n));
    expect([exporter.waiting, exporter.dropped]).toEqual([100, 60]);
  });

  it("go out one batch after the other", async () => {
    const { send, state } = countingSend();
    start({}, send);
    for (let n = 0; n < 700; n++) exporter.take(record(n));
    await turnUntil(clock, () => exporter.sent === 1_400);
    expect(state.most).toBe(1);
    expect(receiver.given.length).toBeGreaterThan(2);
  });

  it("are as many as the share says", async () => {
    start({ sample: 0.25 });
    for (let n = 0; n < 400; n++) exporter.take(record(n));
    expect(exporter.waiting / 800).toBeGreaterThan(0.18);
    expect(exporter.waiting / 800).toBeLessThan(0.32);
  });

  it("that wait at the end are sent, or given up after two seconds", async () => {
    exporter.take(record(1));
    await exporter.close();
    expect(exporter.sent).toBe(2);
    start({}, (_, signal) => new Promise((__, reject) => signal.addEventListener("abort", () => reject(new Error()))));
    exporter.take(record(2));
    let isClosed = false;
    const closing = exporter.close().then(() => {
      isClosed = true;
    });
    await turnUntil(clock, () => isClosed);
    await closing;
    expect(exporter.dropped).toBe(2);
    expect(clock.monotonic()).toBeLessThan(9_000);
  });
});
