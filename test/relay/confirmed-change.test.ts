import { describe, expect, it } from "vitest";
import { accountEvents } from "../../src/charging/events/events.ts";
import type { ChangeProof } from "../../src/directory/types.ts";
import { keptLog } from "../support/lines.ts";
import { establish, type Lab, lab } from "./harness.ts";

/* A lesson is paid by the minute, and the same app server has information that is free. */

const wanting = (service: string) => ({
  type: "application/vnd.tollgate.service+xml",
  body: `<service name="${service}"/>`,
});
type Change = { change?: ChangeProof };

async function school(
  options: { server?: Change; lesson?: Change; info?: Change; log?: ReturnType<typeof keptLog> } = {},
) {
  const servers = [{ id: "a", services: ["service1", "info"], ...options.server }];
  const l = await lab({
    servers,
    service: options.lesson ?? {},
    more: [{ id: "info", ...options.info }],
    ...(options.log && { log: options.log.log }),
  });
  return { l, call: await establish(l) };
}

const confirming = (service: string): [string, string][] => [["Tollgate-Service", service]];
const times = (l: Lab) =>
  l.events
    .flatMap(accountEvents)
    .flatMap((event) => (event.type === "session.ended" ? [`${event.session.service} ${event.durationMs}`] : []));

const CONFIRMED: [where: string, options: Parameters<typeof school>[0]][] = [
  ["at the app server", { server: { change: "confirmed" } }],
  ["at the service that is left", { lesson: { change: "confirmed" } }],
  ["at the service that is asked for", { info: { change: "confirmed" } }],
];

describe.each(CONFIRMED)("change: confirmed %s", (_where, options) => {
  const LEFT_ALONE: [what: string, headers: [string, string][]][] = [
    ["names no service", []],
    ["names another service", confirming("service1")],
    ["names it in other letters", confirming("INFO")],
  ];

  it.each(LEFT_ALONE)(
    "a 200 to a re-INVITE that %s stops no meter: 502, and the session goes on",
    async (_what, headers) => {
      const log = keptLog();
      const { l, call } = await school({ ...options, log });
      l.clock.advance(60_000);
      const change = l.client.inDialog("INVITE", call.invite, call.answer, 2, wanting("info"));
      const at = call.server.request("INVITE");
      expect(at.headers.get("tollgate-service")).toBe("info");
      const ok = call.server.answer(at, 200, { headers, body: "v=2" });
      const refused = l.client.response(502);
      expect(refused.reason).toBe("The Change Was Not Confirmed");
      l.client.ack(change, refused);
      // What the app server has said is acknowledged, also when it comes again.
      expect(call.server.request("ACK").cseq?.number).toBe(at.cseq?.number);
      call.server.send(ok);
      call.server.request("ACK");
      expect(log.of("a change of service was answered and not confirmed: nothing is changed")).toHaveLength(1);
      expect(l.core.counters).toMatchObject({ changed: 0, changesUnconfirmed: 1 });
      l.clock.advance(60_000);
      l.client.inDialog("BYE", call.invite, call.answer, 3);
      call.server.answer(call.server.request("BYE"), 200);
      await l.settle();
      expect(times(l)).toEqual(["service1 120000"]);
      l.client.response(200);
      l.clock.advance(120_000);
      await l.settle();
      expect(l.leftovers()).toEqual({ sessions: 0, requests: 0, legs: 0, legsByFlow: 0, transactions: 0, timers: 0 });
    },
  );

  it("a 200 to an UPDATE that names none stops no meter", async () => {
    const { l, call } = await school(options);
    l.clock.advance(60_000);
    l.client.inDialog("UPDATE", call.invite, call.answer, 2, wanting("info"));
    call.server.answer(call.server.request("UPDATE"), 200);
    l.client.response(502);
    expect(call.server.inbox).toEqual([]);
    // The next change is asked for anew.
    l.client.inDialog("UPDATE", call.invite, call.answer, 3, wanting("info"));
    call.server.answer(call.server.request("UPDATE"), 200, { headers: confirming("info") });
    l.client.response(200);
    await l.settle();
    expect(times(l)).toEqual(["service1 60000"]);
  });

  it.each(["INVITE", "UPDATE"])("a 200 to %s that names it changes the service, as ever", async (method) => {
    const { l, call } = await school(options);
    l.clock.advance(60_000);
    const change = l.client.inDialog(method, call.invite, call.answer, 2, wanting("info"));
    call.server.answer(call.server.request(method), 200, { headers: confirming("info") });
    const ok = l.client.response(200);
    expect(ok.headers.all("tollgate-service")).toEqual(["info"]);
    if (method === "INVITE") l.client.ack(change, ok);
    await l.settle();
    expect(times(l)).toEqual(["service1 60000"]);
    expect(l.core.counters).toMatchObject({ changed: 1, changesUnconfirmed: 0 });
  });

  it("passes a hold, which asks for no service", async () => {
    const { l, call } = await school(options);
    l.client.inDialog("INVITE", call.invite, call.answer, 2, { body: "v=hold" });
    call.server.answer(call.server.request("INVITE"), 200);
    l.client.response(200);
  });
});

describe("change: confirmed, and the app server changes the service (M22)", () => {
  it.each(["INVITE", "UPDATE"])("at a service, the client's 200 to %s has to name it too", async (method) => {
    const { l, call } = await school({ info: { change: "confirmed" } });
    call.server.backInDialog(method, call.inviteAtServer, call.answerOfServer, 1, wanting("info"));
    await l.settle();
    l.client.answer(l.client.request(method), 200);
    call.server.response(502);
    call.server.inbox.length = 0;
    if (method === "INVITE") l.client.request("ACK");
    expect([l.core.counters.changed, l.core.counters.changesUnconfirmed]).toEqual([0, 1]);
    call.server.backInDialog(method, call.inviteAtServer, call.answerOfServer, 2, wanting("info"));
    await l.settle();
    l.client.answer(l.client.request(method), 200, { headers: confirming("info") });
    const ok = call.server.response(200);
    if (method === "INVITE") call.server.ack(call.inviteAtServer, ok);
    expect(ok.headers.get("tollgate-service")).toBe("info");
  });

  it("at the app server, the client's 200 is enough", async () => {
    const { l, call } = await school({ server: { change: "confirmed" } });
    call.server.backInDialog("UPDATE", call.inviteAtServer, call.answerOfServer, 1, wanting("info"));
    await l.settle();
    l.client.answer(l.client.request("UPDATE"), 200);
    call.server.response(200);
    expect(l.core.counters.changed).toBe(1);
  });
});

it("an app server of which the operator says `answered` changes by a 200, whatever its services say", async () => {
  const { l, call } = await school({ server: { change: "answered" }, info: { change: "confirmed" } });
  l.client.inDialog("UPDATE", call.invite, call.answer, 2, wanting("info"));
  call.server.answer(call.server.request("UPDATE"), 200);
  l.client.response(200);
  expect(l.core.counters.changed).toBe(1);
});
