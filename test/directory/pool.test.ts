import { describe, expect, it } from "vitest";
import { ServerPool } from "../../src/directory/pool.ts";
import type { AppServer } from "../../src/directory/types.ts";

const server = (id: string, more: Partial<AppServer> = {}): AppServer => ({
  id,
  uri: `sip:${id}.example`,
  services: ["wine"],
  ...more,
});
const ids = (servers: readonly AppServer[]) => servers.map((one) => one.id);

/** Hands out these numbers in turn, then 0. */
const draws = (...numbers: number[]) => {
  let i = 0;
  return () => numbers[i++] ?? 0;
};

function poolOf(servers: readonly AppServer[], random: () => number = () => 0): ServerPool {
  const pool = new ServerPool(random);
  pool.replace(servers);
  return pool;
}

describe("the app servers of a service (M4)", () => {
  it("come in the order of priority, 10 where none is said", () => {
    const pool = poolOf([server("c", { priority: 20 }), server("b"), server("a", { priority: 5 })]);
    expect(ids(pool.available("wine"))).toEqual(["a", "b", "c"]);
  });

  it("are only those that offer the service, and only those that a rule allows", () => {
    const pool = poolOf([
      server("a"),
      server("b", { services: ["beer"] }),
      server("c", { services: ["beer", "wine", "wine"] }),
    ]);
    expect(ids(pool.available("wine"))).toEqual(["a", "c"]);
    expect(ids(pool.available("wine", ["c", "b"]))).toEqual(["c"]);
    expect(pool.available("cheese")).toEqual([]);
    expect(pool.offering("wine")).toBe(2);
    expect(pool.offering("wine", ["c"])).toBe(1);
    expect(pool.offering("cheese")).toBe(0);
  });

  it("are drawn by weight among equals", () => {
    const servers = [server("light", { weight: 1 }), server("heavy", { weight: 3 })];
    expect(ids(poolOf(servers, draws(0.2)).available("wine"))).toEqual(["light", "heavy"]);
    expect(ids(poolOf(servers, draws(0.3)).available("wine"))).toEqual(["heavy", "light"]);
    const pool = poolOf(servers, Math.random);
    let heavyFirst = 0;
    for (let i = 0; i < 4000; i++) if (pool.available("wine")[0]!.id === "heavy") heavyFirst++;
    expect(heavyFirst / 4000).toBeGreaterThan(0.7);
    expect(heavyFirst / 4000).toBeLessThan(0.8);
  });

  it("keep their priority whatever is drawn", () => {
    const pool = poolOf(
      [server("a", { priority: 1 }), server("b", { priority: 2 }), server("c", { priority: 2 })],
      draws(0.99),
    );
    expect(ids(pool.available("wine"))).toEqual(["a", "c", "b"]);
  });

  it("leave out one that is full until a session ends there", () => {
    const pool = poolOf([server("a", { capacity: 1 }), server("b", { priority: 11 })]);
    pool.occupy("a");
    expect(ids(pool.available("wine"))).toEqual(["b"]);
    expect(pool.offering("wine")).toBe(2);
    pool.release("a");
    expect(ids(pool.available("wine"))).toEqual(["a", "b"]);
    pool.release("a");
    pool.occupy("a");
    expect(ids(pool.available("wine"))).toEqual(["b"]);
  });

  it("leave out one that is down until it is up", () => {
    const pool = poolOf([server("a"), server("b", { priority: 11 })]);
    pool.markHealth("a", "down");
    expect(ids(pool.available("wine"))).toEqual(["b"]);
    pool.markHealth("a", "up");
    expect(ids(pool.available("wine"))).toEqual(["a", "b"]);
  });

  it("take no sessions while the operator has them out of service, and keep those that run", () => {
    const pool = new ServerPool(() => 0);
    pool.replace([server("a"), server("b")], new Set(["a"]));
    expect(ids(pool.available("wine"))).toEqual(["b"]);
    pool.occupy("a");
    expect(pool.states()).toMatchObject([
      { server: server("a"), drained: true, sessions: 1 },
      { server: server("b"), drained: false, sessions: 0 },
    ]);
    pool.replace([server("a")], new Set(["a"]));
    expect(pool.available("wine")).toEqual([]);
    expect(pool.unavailable("wine")).toEqual({ full: false, restsForMs: undefined });
    pool.replace([server("a"), server("b")]);
    expect(ids(pool.available("wine")).sort()).toEqual(["a", "b"]);
  });

  it("keep sessions and health over a reload, also when one goes away and comes back", () => {
    const pool = poolOf([server("a", { capacity: 2 }), server("b")]);
    pool.occupy("a");
    pool.occupy("a");
    pool.markHealth("b", "down");
    pool.replace([server("b")]);
    expect(pool.available("wine")).toEqual([]);
    pool.release("a");
    pool.replace([server("a", { capacity: 1 }), server("b", { uri: "sip:elsewhere.example" })]);
    expect(ids(pool.available("wine"))).toEqual(["b"]);
    expect(pool.states()).toMatchObject([
      { server: server("a", { capacity: 1 }), up: true, sessions: 1 },
      { server: server("b", { uri: "sip:elsewhere.example" }), up: true, sessions: 0 },
    ]);
    pool.release("a");
    expect(ids(pool.available("wine"))).toEqual(["a", "b"]);
  });
});
