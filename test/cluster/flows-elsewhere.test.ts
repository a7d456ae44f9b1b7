import { afterEach, describe, expect, it } from "vitest";
import { agrees, Nodes } from "./nodes.ts";

/* A session goes on at one node, and its client's connection is open at another one. The client notices nothing. */

let nodes: Nodes;
afterEach(() => nodes.close());

/** A client by TCP that answers whatever comes; its call is at node00. */
async function call() {
  nodes = await Nodes.of(3, { clientTransport: "tcp" });
  const call = await nodes.established();
  const told = agrees(nodes.client, ["OPTIONS", "UPDATE", "BYE"]);
  agrees(nodes.server);
  await nodes.run(100);
  return { ...call, call, told, standby: nodes.standby };
}

/** What the client was sent, and by which node's connection. */
const toClient = (method: string) =>
  nodes.log.filter(({ text }) => text.startsWith(`${method} `) && text.includes("@192.0.2.50")).map(({ node }) => node);

describe("a client whose connection is not at the node that has its session (P3)", () => {
  it("hears the hang-up by it when its session was taken up from a node that has died", async () => {
    const { id, invite, answer, call: of, standby } = await call();
    const third = ["node01", "node02"].find((name) => name !== standby)!;
    nodes.target = third;
    nodes.client.inDialog("OPTIONS", invite, answer, 2);
    await nodes.run(100);
    nodes.kill("node00");
    await nodes.run(2_000);
    expect(nodes.owners(id)).toEqual([standby]);
    nodes.target = standby;
    nodes.server.backInDialog("BYE", of.inviteAtServer, of.answerOfServer, 5);
    await nodes.run(1_000);
    expect(toClient("BYE")).toEqual([third]);
    expect(nodes.owners(id)).toEqual([]);
  });

  it("is not taken for gone after the time that clients have to come back", async () => {
    const { id, invite, answer, standby } = await call();
    nodes.target = ["node01", "node02"].find((name) => name !== standby)!;
    nodes.client.inDialog("OPTIONS", invite, answer, 2);
    await nodes.run(100);
    nodes.kill("node00");
    nodes.target = standby;
    await nodes.run(120_000);
    expect(nodes.owners(id)).toEqual([standby]);
    expect(toClient("BYE")).toEqual([]);
  });

  it("is reached by the node that stood still, once that goes on", async () => {
    const { id, call: of, standby } = await call();
    nodes.stop("node00");
    await nodes.run(2_000);
    expect(nodes.owners(id)).toContain(standby);
    nodes.node("node00").continue();
    await nodes.run(2_000);
    expect(nodes.owners(id)).toEqual([standby]);
    nodes.target = standby;
    nodes.server.backInDialog("BYE", of.inviteAtServer, of.answerOfServer, 5);
    await nodes.run(1_000);
    expect(toClient("BYE")).toEqual(["node00"]);
  });

  it("hears then also of a hang-up that came while that node stood still", async () => {
    const { id, call: of, standby } = await call();
    nodes.stop("node00");
    await nodes.run(2_000);
    nodes.target = standby;
    nodes.server.backInDialog("BYE", of.inviteAtServer, of.answerOfServer, 5);
    await nodes.run(2_000);
    expect(toClient("BYE")).toEqual([]);
    nodes.node("node00").continue();
    await nodes.run(2_000);
    expect(nodes.owners(id)).toEqual([]);
    expect(toClient("BYE")).toEqual(["node00"]);
    expect(nodes.ended(id)).toHaveLength(1);
  });

  it("hears nothing of it where that node goes on after the 90 s that it has to come back", async () => {
    const { call: of, standby } = await call();
    nodes.stop("node00");
    await nodes.run(2_000);
    nodes.target = standby;
    nodes.server.backInDialog("BYE", of.inviteAtServer, of.answerOfServer, 5);
    await nodes.run(91_000);
    nodes.node("node00").continue();
    await nodes.run(3_000);
    expect(toClient("BYE")).toEqual([]);
  });
});
