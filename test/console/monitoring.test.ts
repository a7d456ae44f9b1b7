import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import { parse } from "yaml";
import type { CallRecord } from "../../src/calls/record.ts";
import { CallStats } from "../../src/calls/stats.ts";
import { HELP } from "../../src/console/metric-help.ts";
import { metricsText } from "../../src/console/metrics.ts";
import { createClient, serve } from "../../src/sdk/index.ts";
import { DOMAIN, openPortal, PASSWORD, type Portal, USER } from "../e2e/portal.ts";
import { ROOT } from "../support/project.ts";

let portal: Portal | undefined;
afterEach(() => portal?.close());

const read = (name: string) => readFileSync(join(ROOT, name), "utf8");
const record = (over: Partial<CallRecord> = {}): CallRecord => ({
  ...{ id: "r", kind: "invite", method: "INVITE", at: 0, callId: "c", source: "udp/192.0.2.1:5060", uri: "sip:wine@a" },
  ...{ wholeMs: 1_000, service: "wine", status: 200, ringMs: 30, answerMs: 700 },
  asked: [{ appServer: "shop", session: "s", atMs: 1, status: 200, clockMs: 65_000 }],
  ...over,
});
const text = (stats: CallStats, node = "") => metricsText({ counters: {}, gauges: {}, labelled: stats.metrics(node) });

/** The names of all metrics in a text in Prometheus' format. */
const namesIn = (said: string) => new Set([...said.matchAll(/^# TYPE (\w+) /gm)].map((found) => found[1]!));

describe("metrics with labels (P5)", () => {
  it("count requests by kind, service and status, and app servers by what they answered", () => {
    const stats = new CallStats();
    stats.add(record());
    stats.add(record({ status: 480, asked: [{ appServer: "shop", session: "t", atMs: 1 }] }));
    const said = text(stats, "n1");
    expect(said).toContain('tollgate_requests_ended_total{kind="invite",service="wine",status="200",node="n1"} 1\n');
    expect(said).toContain('tollgate_requests_ended_total{kind="invite",service="wine",status="480",node="n1"} 1\n');
    expect(said).toContain(
      'tollgate_app_server_answers_total{app_server="shop",service="wine",status="0",node="n1"} 1\n',
    );
  });

  it("have histograms of which each bucket counts all below it", () => {
    const stats = new CallStats();
    for (const answerMs of [5, 700, 700, 400_000]) stats.add(record({ answerMs }));
    const said = text(stats);
    const bucket = (le: string) =>
      Number(new RegExp(`tollgate_answer_seconds_bucket\\{service="wine",le="${le}"\\} (\\d+)`).exec(said)?.[1]);
    expect([bucket("0.01"), bucket("0.5"), bucket("1"), bucket("180"), bucket("\\+Inf")]).toEqual([1, 1, 3, 3, 4]);
    expect(said).toContain('tollgate_answer_seconds_sum{service="wine"} 401.405');
    expect(said).toContain('tollgate_session_seconds_count{service="wine",app_server="shop"} 4');
  });

  it("have a bounded number of values, whatever comes", () => {
    const stats = new CallStats();
    for (let i = 0; i < 1_000; i++) stats.add(record({ service: `s${i}`, asked: [] }));
    const { requestsEnded } = stats.metrics("").counters;
    expect(requestsEnded).toHaveLength(201);
    expect(requestsEnded!.find(({ labels }) => labels.service === "other")?.value).toBe(800);
  });

  it("do not count the second half of a call twice, which another process began", () => {
    const stats = new CallStats();
    stats.add(record());
    stats.add(record({ resumed: true }));
    expect(text(stats)).toContain('tollgate_requests_ended_total{kind="invite",service="wine",status="200"} 1\n');
  });
});

describe("a relay that works", () => {
  it("tells each metric with its HELP, as the guide has it, and promtool takes it", async () => {
    const server = await serve({
      listen: { host: "127.0.0.1", port: 0 },
      services: { wine: (request) => request.accept() },
    });
    portal = await openPortal({
      config: { services: [{ id: "wine" }], appServers: [{ id: "shop", uri: server.uri, services: ["wine"] }] },
    });
    const client = createClient({ relay: portal.uri, user: USER, password: PASSWORD, domain: DOMAIN });
    await (await client.request("wine")).end();
    await client.close();
    await expect
      .poll(() => metricsText(portal!.relay.metrics()))
      .toContain('tollgate_session_seconds_count{service="wine",app_server="shop"} 1');
    await server.close();
    const said = metricsText(portal.relay.metrics());
    const names = [...namesIn(said)];
    expect(names.filter((name) => HELP[name] === undefined)).toEqual([]);
    const guide = read("ops/guide/running.md");
    expect(Object.keys(HELP).filter((name) => !guide.includes(`\`${name}\``))).toEqual([]);
    expect(names.filter((name) => !said.includes(`# HELP ${name} `))).toEqual([]);
    const checked = spawnSync("promtool", ["check", "metrics"], { input: said, encoding: "utf8" });
    if (checked.error) console.warn("promtool is not here: its check of the metrics is left out");
    else expect(checked.stderr.replace(/^.*(no help text|should|camelCase).*\n?/gm, "")).toBe("");
  });
});

describe("what monitoring is given", () => {
  const known = new Set([...Object.keys(HELP), "up"]);
  const named = (expression: string) =>
    [...expression.matchAll(/\b(tollgate_\w+|up)\b(?=[{[ )]|$)/g)].map((found) =>
      found[1]!.replace(/_(bucket|sum|count)$/, ""),
    );

  it("are rules for metrics that there are, and promtool takes them", () => {
    const { groups } = parse(read("ops/monitoring/alerts.yaml")) as {
      groups: { rules: { alert: string; expr: string; annotations: { summary: string } }[] }[];
    };
    const rules = groups.flatMap((group) => group.rules);
    expect(rules.length).toBeGreaterThan(8);
    for (const { alert, expr, annotations } of rules) {
      expect(
        named(expr).filter((name) => !known.has(name)),
        alert,
      ).toEqual([]);
      expect(annotations.summary, alert).not.toBe("");
    }
    const checked = spawnSync("promtool", ["check", "rules", join(ROOT, "ops/monitoring/alerts.yaml")], {
      encoding: "utf8",
    });
    if (checked.error) console.warn("promtool is not here: its check of the rules is left out");
    else expect(checked.status, checked.stdout + checked.stderr).toBe(0);
  });

  it("is a dashboard for Grafana, with metrics that there are", () => {
    const { panels } = JSON.parse(read("ops/monitoring/grafana-dashboard.json")) as {
      panels: { title: string; targets: { expr: string }[]; gridPos: { x: number; w: number } }[];
    };
    expect(panels.length).toBeGreaterThan(8);
    for (const { title, targets, gridPos } of panels) {
      expect(gridPos.x + gridPos.w, title).toBeLessThanOrEqual(24);
      for (const { expr } of targets) {
        expect(named(expr).length, expr).toBeGreaterThan(0);
        expect(
          named(expr).filter((name) => !known.has(name)),
          title,
        ).toEqual([]);
      }
    }
  });
});
