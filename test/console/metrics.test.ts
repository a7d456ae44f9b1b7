import { Hono } from "hono";
import { afterEach, describe, expect, it } from "vitest";
import type { Env } from "../../src/console/http.ts";
import { addMetricsRoute, metricsText } from "../../src/console/metrics.ts";
import { version } from "../../src/support/version.ts";
import { openPortal, type Portal } from "../e2e/portal.ts";

let portal: Portal | undefined;
afterEach(() => portal?.close());

const relay = { metrics: () => ({ counters: { charges: 2 }, gauges: { sessions: 1 } }) };
const asked = (open: "off" | "loopback" | "all", from: string) => {
  const app = new Hono<Env>();
  addMetricsRoute(app, relay, open);
  return app.request("/metrics", {}, { incoming: { socket: { remoteAddress: from } } });
};

describe("GET /metrics", () => {
  it("is Prometheus' text format", () => {
    const text = metricsText({ counters: { chargesRefused: 3 }, gauges: { journalPendingBytes: 0 } });
    expect(text).toBe(
      [
        "# HELP tollgate_charges_refused_total charges that were refused",
        "# TYPE tollgate_charges_refused_total counter",
        "tollgate_charges_refused_total 3",
        "# HELP tollgate_journal_pending_bytes their bytes",
        "# TYPE tollgate_journal_pending_bytes gauge",
        "tollgate_journal_pending_bytes 0",
        "# HELP tollgate_build_info always 1",
        "# TYPE tollgate_build_info gauge",
        `tollgate_build_info{version="${version()}",node=""} 1`,
        "",
      ].join("\n"),
    );
  });

  it("is for this machine alone unless the operator says otherwise", async () => {
    expect((await asked("loopback", "127.0.0.1")).status).toBe(200);
    expect((await asked("loopback", "::ffff:127.0.0.1")).status).toBe(200);
    expect((await asked("loopback", "192.0.2.9")).status).toBe(404);
    expect((await asked("all", "192.0.2.9")).status).toBe(200);
    expect((await asked("off", "127.0.0.1")).status).toBe(404);
  });

  it("tells how full the journal is, which refuses new sessions before the disk is full", async () => {
    portal = await openPortal({ config: { services: [], appServers: [] } });
    const { counters, gauges } = portal.relay.metrics();
    expect(gauges).toMatchObject({ sessions: 0, journalPendingEvents: 0, journalFull: 0, draining: 0 });
    expect(gauges).toMatchObject({ connections: 0, lockedOut: 0, usersWithSessions: 0 });
    expect(counters).toMatchObject({
      ...{ signInsRefused: 0, signInsHeldOff: 0, lockOuts: 0, logLinesLeftOut: 0 },
      ...{ transportMalformed: 0, transportConnectionsGaveWay: 0, transactionsOverRate: 0, transactionsStateless: 0 },
      ...{ strayRequests: 0, strayRequestsIgnored: 0, overUserLimit: 0, overSessionRate: 0 },
    });
    expect(gauges.journalMaxBytes).toBeGreaterThan(1_000_000);
    expect(counters).toMatchObject({ requests: 0, journalAppended: 0, billingEvents: 0, transactionsMalformed: 0 });
    expect(metricsText({ counters, gauges })).toMatch(/^tollgate_journal_max_bytes \d+$/m);
  });
});
