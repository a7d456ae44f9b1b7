import { EVENT, lateEntries } from "./answers-world.ts";
import type { ApiLab } from "./api-lab.ts";

/** One question, and which operation it is for. They are asked in this order, of one relay. */
export interface Row {
  readonly id: string;
  readonly url: string;
  readonly body?: object;
  /** Done before it is asked. */
  readonly before?: (lab: ApiLab) => Promise<unknown>;
}

const row = (id: string, url: string, body?: object): Row => ({ id, url, ...(body && { body }) });

const agreed = { fee: { percent: "5", perSession: "0.10", currency: "EUR" }, timeShare: "50" };
const wine = {
  ...{ title: "Wine", tariff: "lesson", fork: "first", clientMayChoose: ["single"], clock: "ack", ringS: 60 },
  ...{ limits: { charge: "5", session: "50", day: "100", currency: "EUR" }, lateChargesS: 60, advice: true },
  ...{ ...agreed, onMove: "keep", change: "answered", callsClients: true, media: "off" },
};
const shop = {
  ...{
    uri: "sip:127.0.0.1:5070",
    services: ["wine"],
    priority: 5,
    weight: 2,
    capacity: 9,
    certificate: "shop.example",
  },
  ...{ ...agreed, mayReferTo: ["shop"], change: "answered", media: "off", replace: true },
};
const lesson = {
  ...{ currency: "EUR", setupFee: "0.25", price: "0.10", incrementS: 60, freeS: 5, minimum: "0.10", cap: "9.00" },
  ...{ rounding: "half-up" },
};

/** Something of each operation, with data in every list. */
export const ROWS: readonly Row[] = [
  row("whoAmI", "/v1/me"),
  row("showStatus", "/v1/status"),
  row("showStatus", "/v1/status?everywhere=true"),
  row("showUsage", "/v1/usage"),
  row("listSessions", "/v1/sessions"),
  row("removeSession", "/v1/sessions/s1"),
  row("listRegistrations", "/v1/registrations"),
  row("removeRegistrations", "/v1/registrations/alice"),
  row("listNodes", "/v1/nodes"),
  row("drainNode", "/v1/nodes/n1/drain", { withinS: 1 }),
  row("listLockOuts", "/v1/lockouts"),
  row("liftLockOuts", "/v1/lockouts/lift", { user: "alice" }),
  row("listCalls", "/v1/calls?most=1"),
  row("showCall", "/v1/calls/record0001"),
  row("showStory", "/v1/calls/record0001/story"),
  row("showChartCounts", "/v1/charts/counts"),
  row("placeTestCall", "/v1/test-calls", { scene: "charged" }),
  row("listMachines", "/v1/machines"),

  row("startTrace", "/v1/traces", { name: "why", user: "alice", service: "wine", callId: "call-1", sample: 1 }),
  row("listTraces", "/v1/traces"),
  row("exportTrace", "/v1/traces/why/export"),
  row("exportTrace", "/v1/traces/why/export?format=json"),
  row("exportTrace", "/v1/traces/why/export?format=pcap"),
  row("sendTrace", "/v1/traces/why/hep", { to: "127.0.0.1:9" }),
  row("stopTrace", "/v1/traces/why/stop", {}),
  { ...row("dropTrace", "/v1/traces/other"), before: async (lab) => startedTrace(lab, "other") },

  row("putTariff", "/v1/tariffs/lesson", lesson),
  row("listTariffs", "/v1/tariffs"),
  row("putService", "/v1/services/wine", wine),
  row("listServices", "/v1/services"),
  row("putAppServer", "/v1/app-servers/shop", shop),
  row("listAppServers", "/v1/app-servers"),
  row("drainAppServer", "/v1/app-servers/shop/drain", {}),
  row("resumeAppServer", "/v1/app-servers/shop/resume", {}),
  row("addAppServerKey", "/v1/app-servers/shop/keys", {}),
  row("listAppServerKeys", "/v1/app-server-keys"),

  row("addUser", "/v1/users", { id: "alice", password: "x", prepaid: "EUR", balance: "20" }),
  row("addUser", "/v1/users", { id: "bob", password: "x" }),
  row("limitUser", "/v1/users/bob/limits", { sessions: "2", day: "10", credit: "50", currency: "EUR" }),
  row("nameUser", "/v1/users/alice/name", { name: "Alice Ltd" }),
  row("numberUser", "/v1/users/alice/numbers", { numbers: ["+4930123456"] }),
  row("qrUser", "/v1/users/alice/qr", {}),
  row("blockUser", "/v1/users/alice/block", {}),
  row("unblockUser", "/v1/users/alice/unblock", {}),
  row("listUsers", "/v1/users?most=3"),

  row("openCredit", "/v1/credit/moved/open", { currency: "CHF" }),
  row("topUpCredit", "/v1/credit/alice/topup", { id: "p", amount: "5" }),
  row("adjustCredit", "/v1/credit/paul/adjust", { id: "a", amount: "-1", reason: "paid twice" }),
  row("correctBill", "/v1/corrections", { user: "paul", entry: "s3:ended", amount: "-0.10", reason: "broken" }),
  row("showCredit", "/v1/credit/paul"),
  row("showCredit", "/v1/credit/bob"),

  row("closeBills", "/v1/months/2025-12/close", {}),
  {
    ...row("showBill", "/v1/bills/alice"),
    before: ({ store }) => store.billing.write({ accounts: [], entries: lateEntries }),
  },
  row("showBill", "/v1/bills/alice?month=2025-12"),
  row("showBill", "/v1/bills/paul"),
  ...["text", "csv", "html"].map((format) => row("exportBill", `/v1/bills/alice/export?format=${format}`)),
  row("showSettlement", "/v1/settlements/shop"),
  ...["text", "csv", "html"].map((format) => row("exportSettlement", `/v1/settlements/shop/export?format=${format}`)),
  row("rebillMonth", "/v1/months/2026-01/rebill", { dryRun: true }),
  row("exportRecords", "/v1/records"),
  row("exportRecords", "/v1/records?format=jsonl"),

  row("listUsageLetters", "/v1/usage/letters?most=2"),
  row("showUsageLetter", "/v1/usage/letters/lago:e1"),
  row("resendUsage", "/v1/usage/resend", {}),
  {
    ...row("resendUsage", "/v1/usage/resend", {}),
    before: async ({ store }) => {
      const letter = { sink: "early", at: 1, reason: "status 400", event: "{}" };
      for (let n = 0; n < 50; n++) await store.usage.put({ ...letter, id: `early:${n}` });
    },
  },
  row("dropUsageLetter", "/v1/usage/letters/lago:e1"),
  row("listRefusedCharges", "/v1/refused-charges?most=1"),
  row("listDeadLetters", "/v1/dead-letters?most=1"),
  row("showDeadLetter", "/v1/dead-letters/d1"),
  row("repairDeadLetter", "/v1/dead-letters/d1", { event: EVENT }),
  row("replayDeadLetter", "/v1/dead-letters/d1/replay", { unsigned: true }),
  row("dropDeadLetter", "/v1/dead-letters/d2"),

  row("importUsers", "/v1/imports/users", { csv: "username,password\nimported,x\n,y\n" }),
  row("importTariffs", "/v1/imports/tariffs", { csv: "id,currency,price\nother,EUR,0.10\nbad,EUR,x\n" }),
  row("importServices", "/v1/imports/services", { csv: "id,title\ntea,Tea\n!,Bad\n" }),
  row("importAppServers", "/v1/imports/app-servers", {
    csv: "id,uri,services\ninn,sip:127.0.0.1:5071,tea\nbad,x,tea\n",
  }),

  row("listTokens", "/v1/tokens"),
  row("revokeToken", "/v1/tokens/a-app-server"),
  row("removeAppServer", "/v1/app-servers/shop?force=true"),
  row("removeService", "/v1/services/wine?force=true"),
  row("removeTariff", "/v1/tariffs/lesson"),
  { ...row("removeAppServerKey", "/v1/app-server-keys/k1"), before: async ({ store }) => putKey(store) },
  row("removeUser", "/v1/users/alice"),
  row("listAudit", "/v1/audit?most=3"),
];

async function startedTrace({ context }: ApiLab, name: string): Promise<void> {
  await context.relay!.traces.start({ name, most: 1, filter: {} });
}

async function putKey(store: ApiLab["store"]): Promise<void> {
  const hash = "0".repeat(64);
  await store.appServerKeys.put({ id: "k1", appServer: "inn", realm: "x", hash, ha1: { sha256: hash }, createdAt: 1 });
}
