import { createSocket } from "node:dgram";
import { chmodSync, existsSync, mkdirSync, readdirSync, statSync } from "node:fs";
import { type AddressInfo, createServer } from "node:net";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { readConfig } from "../../src/cli/context.ts";
import { start, startBillingOnly } from "../../src/cli/start.ts";
import type { Config } from "../../src/config/schema.ts";
import { askControl, controlPath } from "../../src/console/control.ts";
import type { Relay } from "../../src/node/relay.ts";
import { ask } from "../console/http-lab.ts";
import { freePort } from "../support/peers.ts";
import { until } from "../support/until.ts";
import { Terminal } from "./terminal.ts";

let terminal: Terminal;
let config: string;
beforeEach(async () => {
  terminal = new Terminal();
  const port = await freePort();
  config = `listen: ["udp:127.0.0.1:${port}"]\nhealth: { intervalS: 0 }\nlog: { level: silent }\ndrainS: 5\nservices: [{ id: wine }]\n`;
  terminal.write("tollgate.yaml", config);
});
afterEach(() => terminal.remove());

const socketPath = () => controlPath(join(terminal.folder, "data"));

const running = async () => (await askControl(socketPath(), "GET", "/v1/me")).ok;

describe("tollgate start", () => {
  it("runs until SIGTERM, and answers `tollgate sessions` meanwhile", async () => {
    expect((await terminal.tollgate(["sessions"])).err).toMatch(
      /^tollgate: no relay runs on .*: start one with tollgate start/,
    );
    const relay = terminal.tollgate(["start"]);
    await until(running);
    expect(await terminal.tollgate(["sessions"])).toEqual({ code: 0, out: "no sessions\n", err: "" });
    expect(await terminal.tollgate(["sessions", "--json"])).toEqual({ code: 0, out: "[]\n", err: "" });
    terminal.signal("SIGTERM");
    expect(await relay).toEqual({ code: 0, out: "", err: "" });
    expect(existsSync(socketPath())).toBe(false);
  });

  it("keeps a second relay off its data folder", async () => {
    const relay = terminal.tollgate(["start"]);
    await until(running);
    const second = await terminal.tollgate(["start"]);
    expect(second.code).toBe(1);
    expect(second.err).toContain("another relay runs on this data folder");
    terminal.signal("SIGINT");
    expect((await relay).code).toBe(0);
  });

  it("drains when it is told to by the control socket", async () => {
    const relay = terminal.tollgate(["start"]);
    await until(running);
    expect(await askControl(socketPath(), "POST", "/v1/nodes/self/drain")).toEqual({
      ok: true,
      value: { draining: true },
    });
    expect((await relay).code).toBe(0);
  });

  it("closes its data folder to other users, and every file in it, whoever made them and how", async () => {
    terminal.write("tollgate.yaml", `${config}identity: { url: "https://portal.example" }\n`);
    const data = join(terminal.folder, "data");
    const all = () => readdirSync(data, { recursive: true, encoding: "utf8" }).map((name) => join(data, name));
    const open = () => [data, ...all()].filter((path) => (statSync(path).mode & 0o077) !== 0);
    const ran = async () => {
      const relay = terminal.tollgate(["start"]);
      await until(async () => (await running()) && existsSync(join(data, "alive")));
      expect(
        all()
          .map((path) => path.slice(data.length + 1))
          .sort(),
      ).toEqual(
        ["alive", "control.sock", "identity-key.pem", "journal", "store"]
          .concat(["journal", "store"].flatMap((name) => [`${name}/data.mdb`, `${name}/lock.mdb`]))
          .sort(),
      );
      expect(open()).toEqual([]);
      terminal.signal("SIGTERM");
      expect((await relay).code).toBe(0);
    };
    mkdirSync(data);
    chmodSync(data, 0o755);
    const added = await terminal.tollgate(["user", "add", "alice", "--password-stdin"], { stdin: "x" });
    expect(added.code).toBe(0);
    expect(open()).toEqual([]); // a command beside the relay writes hashes too
    await ran();
    for (const path of all()) chmodSync(path, statSync(path).isDirectory() ? 0o755 : 0o644);
    chmodSync(data, 0o777);
    await ran();
  });

  it("does not run on a folder that everybody uses, and says what to do", async () => {
    const data = join(terminal.folder, "data");
    mkdirSync(data);
    chmodSync(data, 0o1777);
    for (const line of [["start"], ["user", "list"]]) {
      const { code, err } = await terminal.tollgate(line);
      expect(code).toBe(1);
      expect(err).toMatch(
        /data is for everybody \(mode 1777\): it takes a folder of its own, such as .*data\/tollgate\n$/,
      );
    }
  });

  it("ends with 1 and says why when its address is taken", async () => {
    const socket = createSocket("udp4");
    await new Promise<void>((resolve) => socket.bind(0, "127.0.0.1", resolve));
    try {
      terminal.write("tollgate.yaml", `listen: ["udp:127.0.0.1:${socket.address().port}"]\nlog: { level: silent }\n`);
      const { code, err } = await terminal.tollgate(["start"]);
      expect(code).toBe(1);
      expect(err).toContain("EADDRINUSE");
      expect(existsSync(socketPath())).toBe(false);
    } finally {
      socket.close();
    }
  });
});

describe("the HTTP API (M17)", () => {
  const taken = () =>
    new Promise<{ port: number; close(): void }>((resolve) => {
      const server = createServer().listen(0, "127.0.0.1", () => {
        const { port } = server.address() as AddressInfo;
        resolve({ port, close: () => server.close() });
      });
    });

  it("is served where the configuration has an address for it, until the relay ends", async () => {
    const place = await taken();
    place.close();
    terminal.write("tollgate.yaml", `${config}http: { listen: "127.0.0.1:${place.port}" }\n`);
    const io = terminal.quietIo();
    const relay = start(readConfig(io, undefined), io);
    const asked = () => ask({ port: place.port }, "GET", "/v1/openapi.yaml").catch(() => undefined);
    await until(async () => (await asked())?.status === 200);
    terminal.signal("SIGTERM");
    expect(await relay).toBe(0);
    expect(await asked()).toBeUndefined();
  });

  it("keeps the relay from starting where its address is taken, and nothing is left", async () => {
    const place = await taken();
    terminal.write("tollgate.yaml", `${config}http: { listen: "127.0.0.1:${place.port}" }\n`);
    const io = terminal.quietIo();
    await expect(start(readConfig(io, undefined), io)).rejects.toThrow("EADDRINUSE");
    expect(await running()).toBe(false);
    expect(terminal.listening).toBe(0);
    place.close();
  });
});

describe("signals", () => {
  /** A relay that notes what it is told, and drains only when it is told to end at once. */
  function stubborn() {
    const told: string[] = [];
    let ended: () => void = () => {};
    const drained = new Promise<void>((resolve) => {
      ended = resolve;
    });
    const relay: Relay = {
      addresses: [],
      counters: {} as Relay["counters"],
      identity: undefined,
      provision: () => undefined,
      metrics: () => ({ counters: {}, gauges: {} }),
      usage: async () => [],
      sessions: () => [],
      registrations: () => [],
      unregister: () => 0,
      endSession: () => false,
      everywhere: {} as Relay["everywhere"],
      appServers: () => [],
      token: () => undefined,
      store: { audit: { add: async () => {}, forget: async () => 0 } } as never,
      calls: async () => [],
      inspectors: new Set(),
      watch: { watch: () => () => {}, around: () => undefined },
      chartCounts: () => ({ since: 0, charts: {} }),
      traces: {} as Relay["traces"],
      nodes: () => [],
      drainNode: () => {},
      onDrain: () => {},
      act: async () => ({ kind: "unknown" }),
      failed: (error) => void told.push(`failed ${error}`),
      lockOuts: () => [],
      liftLockOuts: () => 0,
      charging: {} as Relay["charging"],
      onClosing: () => {},
      reload: async (config?: Config) => {
        told.push(`reload ${config?.services.map((service) => service.id).join()}`);
      },
      close: ({ drainMs }) => {
        told.push(`close ${drainMs}`);
        if (drainMs === 0) ended();
        return drained;
      },
    };
    return { told, launch: async () => relay };
  }

  it("that are none: a rejected promise that nobody awaits is the relay's to count, and ends nothing (decision 13)", async () => {
    const { told, launch } = stubborn();
    const io = terminal.quietIo();
    const code = start(readConfig(io, undefined), io, launch);
    await until(running);
    await until(async () => terminal.rejection(new Error("lost")));
    expect(told).toEqual(["failed Error: lost"]);
    terminal.signal("SIGTERM");
    terminal.signal("SIGTERM");
    expect(await code).toBe(0);
    expect(terminal.rejection(new Error("later"))).toBe(false);
  });

  it("SIGHUP reads the configuration again; one with mistakes changes nothing", async () => {
    const { told, launch } = stubborn();
    const io = terminal.quietIo();
    const done = start(readConfig(io, undefined), io, launch);
    await until(running);
    terminal.write("tollgate.yaml", config.replace("wine", "beer"));
    terminal.signal("SIGHUP");
    await until(async () => told.length === 1);
    terminal.write("tollgate.yaml", `${config}limit: 5\n`);
    terminal.signal("SIGHUP");
    terminal.signal("SIGTERM");
    terminal.signal("SIGTERM");
    expect(await done).toBe(0);
    expect(told).toEqual(["reload beer", "close 5000", "close 0"]);
  });

  it("the first drains, the second ends, and none is listened to afterwards", async () => {
    const { told, launch } = stubborn();
    const io = terminal.quietIo();
    const done = start(readConfig(io, undefined), io, launch);
    await until(running);
    terminal.signal("SIGINT");
    await until(async () => told.length === 1);
    expect(told).toEqual(["close 5000"]);
    terminal.signal("SIGTERM");
    expect(await done).toBe(0);
    expect(told).toEqual(["close 5000", "close 0"]);
    expect(terminal.listening).toBe(0);
  });

  it("none is listened to, and no socket is left, when the relay does not start", async () => {
    const io = terminal.quietIo();
    const launch = () => Promise.reject(new Error("no room"));
    await expect(start(readConfig(io, undefined), io, launch)).rejects.toThrow("no room");
    expect(terminal.listening).toBe(0);
    expect(await running()).toBe(false);
  });
});

describe("tollgate start with roles: [billing] (P2)", () => {
  it("runs a billing worker, without SIP and control socket, until SIGTERM, and closes it", async () => {
    terminal.write(
      "billing.yaml",
      "roles: [billing]\nbus: nats://127.0.0.1:4222\nstore: mongodb://127.0.0.1/tollgate\nlog: { level: silent }\n",
    );
    const io = terminal.quietIo();
    let closed = false;
    const running = startBillingOnly(readConfig(io, "billing.yaml"), io, async ({ config }) => {
      expect(config.roles).toEqual(["billing"]);
      terminal.signal("SIGTERM");
      return {
        counters: { events: 0, entries: 0, deadLetters: 0, conflicts: 0 },
        close: async () => {
          closed = true;
        },
      };
    });
    expect(await running).toBe(0);
    expect(closed).toBe(true);
    expect(terminal.listening).toBe(0);
    expect(existsSync(socketPath())).toBe(false);
  });

  it("is refused without a bus and a store that others reach", async () => {
    terminal.write("billing.yaml", "roles: [billing]\n");
    const { code, err } = await terminal.tollgate(["start", "--config", "billing.yaml"]);
    expect(code).toBe(2);
    expect(err).toContain("billing alone, which needs bus: nats://");
    expect(err).toContain("billing alone, which needs store: mongodb://");
  });
});
