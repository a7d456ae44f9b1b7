import { afterEach, describe, expect, it } from "vitest";
import { agrees, Nodes } from "./nodes.ts";

let nodes: Nodes;
afterEach(() => nodes.close());

describe("a node that is killed (P3)", () => {
  it("has its established session taken up by its standby", async () => {
    nodes = await Nodes.of(2);
    const call = await nodes.established();
    const told = agrees(nodes.client);
    const toldServer = agrees(nodes.server);
    nodes.kill("node00");
    nodes.target = "node01";
    await nodes.run(600);
    expect(nodes.owners(call.id)).toEqual(["node01"]);
    expect(told.map(({ method }) => method)).toEqual(["UPDATE"]);
    expect(toldServer.map(({ method }) => method)).toEqual(["UPDATE"]);
  });
});
