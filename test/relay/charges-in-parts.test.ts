import { describe, expect, it } from "vitest";
import { establish, type Lab, lab } from "./harness.ts";

/*
 * A body of several parts (RFC 2046 §5.1) may have charges among them: nobody is answered as if they were taken, and no
 * client sees them (M16).
 */

const CHARGE = "application/vnd.tollgate.charge+json";
const body = JSON.stringify({ charges: [{ id: "x", item: "Corkage", unitPrice: "7.00", currency: "EUR" }] });

const parts = (head: string) => ({
  type: "multipart/mixed;boundary=b",
  body: `--b\r\nContent-Type: text/plain\r\n\r\nGood bye\r\n--b\r\n${head}\r\n\r\n${body}\r\n--b--\r\n`,
});
const WRITTEN: [what: string, filling: { type: string; body: string }][] = [
  ["as one part of several", parts(`Content-Type: ${CHARGE}`)],
  ["in other letters, and on a line of its own", parts(`CONTENT-TYPE :\r\n ${CHARGE.toUpperCase()};charset=utf-8`)],
  [
    "in a part of a part",
    {
      type: 'Multipart/Related ; boundary="a"',
      body: `--a\r\nContent-Type: multipart/mixed;boundary=b\r\n\r\n${parts(`Content-Type: ${CHARGE}`).body}\r\n--a--\r\n`,
    },
  ],
];

const refused = (l: Lab) => l.events.flatMap((event) => (event.type === "charge.refused" ? [event.reason] : []));

describe.each(WRITTEN)("charges %s", (_what, filling) => {
  it.each(["BYE", "INFO", "MESSAGE"])("in %s of the app server: 400, on record as refused", async (method) => {
    const l = await lab();
    const { server, inviteAtServer, answerOfServer } = await establish(l);
    server.backInDialog(method, inviteAtServer, answerOfServer, 1, filling);
    if (method === "BYE") l.client.answer(l.client.request("BYE"), 200);
    await l.settle();
    expect(server.response(400).reason).toContain("content type");
    expect(l.client.inbox).toEqual([]);
    expect(refused(l)).toHaveLength(1);
  });

  it("in a BYE that crosses the client's: 400, and in the answer to that: on record as refused", async () => {
    const l = await lab();
    const { server, inviteAtServer, answerOfServer, invite, answer } = await establish(l);
    l.client.inDialog("BYE", invite, answer, 2);
    const bye = server.request("BYE");
    server.backInDialog("BYE", inviteAtServer, answerOfServer, 1, filling);
    server.answer(bye, 200, filling);
    await l.settle();
    server.response(400);
    expect(l.client.response(200).body).toHaveLength(0);
    expect(refused(l)).toHaveLength(2);
  });

  it("in a BYE after the end: 400", async () => {
    const l = await lab();
    const { server, inviteAtServer, answerOfServer, invite, answer } = await establish(l);
    l.client.inDialog("BYE", invite, answer, 2);
    server.answer(server.request("BYE"), 200);
    await l.settle();
    server.backInDialog("BYE", inviteAtServer, answerOfServer, 1, filling);
    await l.settle();
    server.response(400);
  });

  it.each(["INVITE", "UPDATE", "OPTIONS"])("in %s: 415", async (method) => {
    const l = await lab();
    const { server, inviteAtServer, answerOfServer } = await establish(l);
    server.backInDialog(method, inviteAtServer, answerOfServer, 1, filling);
    server.response(415);
    expect(l.client.inbox).toEqual([]);
  });

  it.each(["INVITE", "MESSAGE"])(
    "in its answer to %s: on record as refused, and the client sees none",
    async (method) => {
      const l = await lab();
      const { server, invite, answer } = await establish(l);
      l.client.inDialog(method, invite, answer, 2, { body: "v=0" });
      server.answer(server.request(method), 200, filling);
      await l.settle();
      expect(l.client.response(200).body).toHaveLength(0);
      expect(refused(l)).toEqual([expect.stringContaining(`200 to ${method}`)]);
    },
  );
});

it("other bodies of several parts pass as they are", async () => {
  const l = await lab();
  const { server, inviteAtServer, answerOfServer } = await establish(l);
  const filling = parts("Content-Type: text/html");
  server.backInDialog("MESSAGE", inviteAtServer, answerOfServer, 1, filling);
  expect(l.client.request("MESSAGE").body.toString()).toBe(filling.body);
});
