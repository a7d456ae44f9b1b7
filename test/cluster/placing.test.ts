import { describe, expect, it } from "vitest";
import { standbyFor } from "../../src/cluster/placing.ts";

const at = (zones: Record<string, string>) => Object.entries(zones).map(([node, zone]) => ({ node, zone }));
const sessions = Array.from({ length: 3_000 }, (_, i) => `0mk${i.toString(36).padStart(6, "0")}-node00-${i * 7919}`);
const spread = (places: ReturnType<typeof at>, zone = "") => {
  const counts: Record<string, number> = {};
  for (const session of sessions) {
    const node = standbyFor(session, places, zone) ?? "none";
    counts[node] = (counts[node] ?? 0) + 1;
  }
  return counts;
};

describe("which node keeps the copy of a session (P3)", () => {
  it("is none where there is none", () => {
    expect(standbyFor("s1", [], "a")).toBeUndefined();
  });

  it("is each of the others about as often", () => {
    const counts = spread(at({ node01: "", node02: "", node03: "", node04: "" }));
    for (const count of Object.values(counts)) expect(count).toBeGreaterThan(650);
    expect(Object.keys(counts).length).toBe(4);
  });

  it("is the same for whoever works it out, in whatever order", () => {
    const places = at({ node01: "", node02: "", node03: "" });
    for (const session of sessions)
      expect(standbyFor(session, [...places].reverse(), "")).toBe(standbyFor(session, places, ""));
  });

  it("stays when another node goes", () => {
    const places = at({ node01: "", node02: "", node03: "" });
    for (const session of sessions) {
      const before = standbyFor(session, places, "")!;
      const left = places.filter(({ node }) => node !== (before === "node01" ? "node02" : "node01"));
      expect(standbyFor(session, left, "")).toBe(before);
    }
  });

  it("is in another zone where there is one, whichever comes first", () => {
    const places = at({ node01: "a", node02: "b", node03: "a", node04: "" });
    expect(spread(places, "a")).toEqual({ node02: sessions.length });
    expect(spread([...places].reverse(), "a")).toEqual({ node02: sessions.length });
    expect(Object.keys(spread(places, "b")).sort()).toEqual(["node01", "node03"]);
    expect(Object.keys(spread(at({ node01: "a", node02: "a" }), "a")).length).toBe(2);
  });
});
