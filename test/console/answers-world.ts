import type { CallRecord } from "../../src/calls/record.ts";
import type { RefusedCharge } from "../../src/charging/billing/refused-charge.ts";
import type { CorrectionEntry, Entry, ItemEntry, TimeEntry } from "../../src/charging/billing/store.ts";
import { micros } from "../../src/charging/credit/store.ts";
import type { DeadLetter } from "../../src/charging/events/dead-letter.ts";
import { money } from "../../src/charging/money/money.ts";
import type { Terms } from "../../src/charging/money/terms.ts";
import type { MemberView } from "../../src/cluster/member-view.ts";
import type { LockOut } from "../../src/directory/guesses.ts";
import type { ChartCountsView } from "../../src/node/chart-counts.ts";
import { added } from "../../src/node/figures.ts";
import type { Metrics } from "../../src/node/metrics.ts";
import type { RegistrationView } from "../../src/node/registrations.ts";
import type { SessionView } from "../../src/node/session-view.ts";
import { TracesAround } from "../../src/node/traces-around.ts";
import { TracesHere } from "../../src/node/traces-here.ts";
import type { OperatedRelay } from "../../src/operations/context.ts";
import type { Story } from "../../src/trace/story.ts";
import { Traces } from "../../src/trace/traces.ts";
import type { UsageLetter } from "../../src/usage/letters.ts";
import type { SinkStatus } from "../../src/usage/usage.ts";
import { facts, wholeSession } from "../charging/samples.ts";
import { call, pageOf } from "../contract/calls.contract.ts";
import { ApiLab, idleRelay } from "./api-lab.ts";

/* A relay and a store in which there is something of everything that operations answer. */

const NOW = Date.UTC(2026, 0, 15);
const CHRISTMAS = Date.UTC(2025, 11, 24);

const CONFIG = {
  http: { listen: "127.0.0.1:0", perSecond: 0, loopbackReads: false },
  bills: { operator: { name: "Portal Ltd", lines: ["1 Main Road"] }, numberPrefix: "P-" },
  provisioning: { url: "https://portal.example:8443", sip: "sip:portal.example;transport=tls" },
};

/** With every field that the type has: what it gets later must be in the document too. */
type Whole<T> = { [K in keyof T]-?: Whole<Exclude<T[K], undefined>> };

const terms: Whole<Terms> = {
  taxes: [{ id: "vat", title: "VAT", rate: "19", included: false }],
  fee: { percent: "5", perSession: "0.10", currency: "EUR" },
  timeShare: "50",
};
const line = {
  ...{ at: NOW - 5_000_000, month: "2026-01", user: "alice", service: "wine", appServer: "shop", call: "c1" },
  ...{ currency: "EUR", terms },
};
const ofTime = { kind: "time", endedBy: "client", durationMs: 60_000, amount: "1.00", tariff: "lesson" } as const;
const time = { ...line, ...ofTime };
const ofItem = { kind: "item", item: "Riesling", unitPrice: "12.50", quantity: "2", channel: "http" } as const;
const item = { ...line, ...ofItem, amount: "25.00" };
const ofCorrection = { kind: "correction", reason: "broken", amount: "-0.50" } as const;
const correction = { ...line, ...ofCorrection, at: line.at + 70_000 };
const previous = { session: "s1", by: "change" } as const;
const paid = { user: "paul", prepaid: true } as const;
const ofPaul = { ...paid, session: "s3", previous } as const;
const paulsTime: Whole<TimeEntry> = { ...time, ...ofPaul, id: "s3:ended" };
const paulsItem: Whole<ItemEntry> = { ...item, ...ofPaul, id: "s3:charge:1" };
const paulsCorrection: Whole<CorrectionEntry> = {
  ...{ ...correction, ...ofPaul, id: "correction:p", of: "time", corrects: "s3:ended" },
};
const entries: readonly Entry[] = [
  { ...time, id: "s1:ended", session: "s1" },
  { ...time, id: "s2:ended", session: "s2", previous, at: line.at + 60_000 },
  { ...item, id: "s2:charge:1", session: "s2", previous, at: line.at + 61_000 },
  { ...correction, id: "correction:time", session: "s2", of: "time", corrects: "s2:ended", previous },
  { ...correction, id: "correction:items", session: "s2", of: "items", corrects: "s2:charge:1", previous },
  { ...time, id: "s0:ended", session: "s0", at: CHRISTMAS, month: "2025-12" },
  { ...time, ...paid, id: "s00:ended", session: "s00", at: CHRISTMAS, month: "2025-12" },
  ...[paulsTime, paulsItem, paulsCorrection],
];

/** Late: charged when the bills of its month were closed. */
export const lateEntries: readonly Entry[] = [
  { ...item, id: "s0:charge:9", session: "s0", at: CHRISTMAS, month: "2025-12" },
  { ...item, ...paid, id: "s00:charge:9", session: "s00", at: CHRISTMAS, month: "2025-12" },
];

/** An event that can be billed, as JSON text. */
export const EVENT = JSON.stringify(wholeSession(facts({ id: "s9" }), 60_000, [], NOW - 100_000)[1]);

/** No record of a relay has all of this. */
const fullCall: Whole<CallRecord> = {
  ...{ id: "record0001", kind: "invite", method: "INVITE", at: NOW, call: "c1", callId: "call-1@client" },
  ...{ source: "udp/192.0.2.1:5060", user: "alice", uri: "sip:wine@portal.example", fromServer: true, rule: "all" },
  ...{ service: "wine", status: 200, reason: "OK", why: "busy", endedBy: "client", running: true, resumed: true },
  ...{ ringMs: 5, answerMs: 10, wholeMs: 500, cost: "1.00 EUR" },
  within: { session: "s0", appServer: "shop", callId: "s0@tollgate" },
  asked: [
    {
      ...{ appServer: "shop", session: "s2", callId: "s2@tollgate", atMs: 5, status: 200, reason: "OK", why: "none" },
      ...{ answerMs: 7, clockMs: 60_000, endedBy: "client", cost: "1.00 EUR" },
    },
  ],
  kept: {
    messages: [[0, "client", "relay", "INVITE sip:wine@portal.example (SDP)"]],
    states: [[1, "request", "", "authenticating", "identifying"]],
  },
};

const missing = ["n2"];
const session: Whole<SessionView> = {
  ...{ id: "s1", call: "c1", user: "alice", service: "wine", appServer: "shop", state: "established.steady" },
  ...{ startedAt: 1_000, durationMs: 5, cost: "0.10 EUR", node: "n1" },
};
const story = { items: [{ kind: "timer", at: 1, session: "s1", name: "rings", text: "rings" }], leftOut: 0 };
const everywhere: OperatedRelay["everywhere"] = {
  sessions: async () => ({ sessions: [session], missing }),
  endSession: async (id) => ({ ended: id === "s1", missing: [] }),
  calls: async ({ any }) => ({ calls: any === "none" ? [] : [fullCall, call(2)], missing }),
  story: async (id) => ({ story: id === "record0001" ? story : undefined, missing: [] }),
  figures: async () => ({ own: metrics, figures: added([metrics]), nodes: 1, missing }),
};

const seen = {
  kind: "message",
  at: NOW,
  direction: "in",
  local: { transport: "udp", address: "192.0.2.1", port: 5060 },
  peer: { transport: "udp", address: "198.51.100.7", port: 5062 },
  leg: "client",
  callId: "call-1",
  bytes: Buffer.from("OPTIONS sip:portal.example SIP/2.0\r\nCall-ID: call-1\r\nCSeq: 1 OPTIONS\r\n\r\n"),
} as const;

const registration: Whole<RegistrationView> = {
  ...{ user: "alice", contact: "sip:alice@192.0.2.9", from: "udp/192.0.2.9:5060", connected: true, instance: "i" },
  ...{ regId: 1, gruu: "sip:alice@portal.example;gr=i", path: ["sip:192.0.2.1"], userAgent: "Linphone", q: 0.5 },
  ...{ sinceS: 1, leftS: 60 },
};
const sink: Whole<SinkStatus> = {
  ...{ sink: "lago", preset: "lago", url: "https://lago.example", waiting: 7, oldestS: 12.4, delivered: 3 },
  ...{ failures: 2, deadLetters: 1, lost: 0, failing: "status 503" },
};
const node: Whole<MemberView> = {
  ...{ node: "n1", epoch: 1, host: "a", zone: "eu", release: "1", state: "up", self: true, heardMsAgo: 0 },
  ...{ patienceMs: 3_000, sessions: 1, requests: 0, standbys: 0, lagMs: 0, busy: 0.5 },
};
const lockOut: Whole<LockOut> = { user: "alice", source: "198.51.100.7", failures: 5, waitMs: 1_000.5 };
const labels = { service: "wine" };
const metrics: Whole<Metrics> = {
  node: "n1",
  counters: { requests: 1 },
  gauges: { sessions: 0, draining: 0 },
  labelled: {
    counters: { requestsEnded: [{ labels, value: 1 }] },
    histograms: { ringSeconds: [{ labels, buckets: [[0.1, 1]], sum: 0.05, count: 1 }] },
  },
};
const chartCounts: Whole<ChartCountsView> = {
  since: NOW,
  charts: { session: { states: { steady: { now: 1, left: 2, meanMs: 3 } }, arrows: { "steady ack": 2 } } },
};
const server = { id: "shop", uri: "sip:127.0.0.1:5070", services: ["wine"] };

const relay = (): OperatedRelay =>
  idleRelay({
    everywhere,
    traces: new TracesAround(
      new TracesHere(
        new Traces((viewer) => {
          viewer.see({ record: { id: "record0001", name: "record0001" } } as Story, seen);
          return () => {};
        }),
        () => NOW,
      ),
      { ask: async () => undefined, eachOther: async () => missing },
    ),
    registrations: () => [registration],
    unregister: () => 1,
    usage: async () => [sink],
    nodes: () => [node],
    lockOuts: () => [lockOut],
    liftLockOuts: () => 1,
    appServers: () => [{ server, up: true, sessions: 2, drained: false, restsForMs: 500 }],
    metrics: () => metrics,
    chartCounts: () => chartCounts,
    testCall: async ({ item }) => (item === "none" ? Promise.reject(new Error("none is sold")) : "record0001"),
    drain: (node) => {
      if (node !== undefined) throw new Error(`there is no node ${node}`);
    },
  });

export interface AnswersLab {
  readonly lab: ApiLab;
  readonly token: string;
}

/** The API of that relay, and an operator's token. */
export async function answersLab(): Promise<AnswersLab> {
  const lab = await ApiLab.create(CONFIG, relay());
  const { store } = lab;
  lab.now = Date.now(); // whether a token is good is seen by the clock
  const token = await lab.token("operator", { expiresDays: 30 });
  lab.now = NOW;
  await lab.token("app-server", { expiresDays: 1 });
  await store.calls.add(pageOf([call(1)]));
  await store.billing.write({ accounts: [], entries });
  const ha1 = { md5: "0".repeat(32) };
  await store.users.put({ id: "moved", realm: "old.example", ha1, name: "Ada", account: "moved#2" });
  const euros = (text: string) => micros(money(text, "EUR"));
  const credit = store.credit!;
  await store.users.put({ id: "paul", realm: "old.example", ha1, prepaid: { currency: "EUR" } });
  await credit.open("paul", "EUR");
  const user = "paul";
  await credit.post({ user, id: "topup:0", at: NOW, kind: "topup", amount: euros("50"), currency: "EUR" });
  for (const hold of ["s3", "s4"])
    await credit.reserve({
      ...{ user, hold, currency: "EUR", from: euros("0"), to: euros("2"), atLeast: euros("1"), used: euros("0") },
      ...{ until: NOW + 60_000, leaseMs: 60_000 },
    });
  await credit.settle({ user, hold: "s3", session: "s3", totals: [{ amount: euros("1.19"), at: NOW }] });
  const deadLetter: Omit<Whole<DeadLetter>, "id"> = { at: NOW, reason: "of no user", event: EVENT, untrusted: true };
  for (const id of ["d1", "d2"]) await store.billing.putDeadLetter({ ...deadLetter, id });
  const letter: Omit<Whole<UsageLetter>, "id"> = { sink: "lago", at: NOW, reason: "status 400", event: EVENT };
  for (const id of ["lago:e1", "lago:e2", "lago:e3"]) await store.usage.put({ ...letter, id });
  const refused: Omit<Whole<RefusedCharge>, "id" | "at"> = {
    ...{
      call: "c1",
      session: "s1",
      user: "alice",
      service: "wine",
      appServer: "shop",
      charge: "1",
      reason: "too much",
    },
  };
  for (const n of [1, 2]) await store.refusedCharges.add({ ...refused, id: `r${n}`, at: NOW - n });
  return { lab, token };
}
