import { describe, expect, it } from "vitest";
import { EventCopies } from "../../src/app-servers/event-copies.ts";
import { eventOf } from "../../src/app-servers/events.ts";

/* What nodes know of each other's events for app servers that speak HTTP (P3). */

const event = (session: string) => eventOf("session.ended", "shop", session, 1_000, { session, service: "wine" });

function nodes(...names: string[]) {
  const all: EventCopies[] = [];
  const tell = (text: string) => {
    for (const one of all) one.heard(text);
  };
  for (const node of names) all.push(new EventCopies({ node, tell, most: 2 }));
  return all as [EventCopies, EventCopies];
}

describe("copies of events for app servers", () => {
  it("are at the other nodes, until the event is taken, and are given out once", () => {
    const [one, two] = nodes("one", "two");
    one.kept(event("s1"));
    one.kept(event("s2"));
    one.gone(event("s1"));
    expect([one.nodes, two.nodes]).toEqual([[], ["one"]]);
    expect(two.take("one")).toEqual([event("s2")]);
    expect(two.take("one")).toEqual([]);
  });

  it("are bounded, and nothing else is taken for one", () => {
    const [one, two] = nodes("one", "two");
    for (const id of ["s1", "s2", "s3"]) one.kept(event(id));
    expect(two.take("one")).toHaveLength(2);
    for (const text of ["", "{", "null", "[]", '{"node":1}', '{"node":"one","kept":{"id":"x"}}', '{"node":"one"}'])
      two.heard(text);
    expect(two.nodes).toEqual([]);
  });
});
