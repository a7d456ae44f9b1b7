import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { parse, parseAllDocuments } from "yaml";
import { loadConfig, parseConfig } from "../../src/config/load.ts";
import { ROOT } from "../support/project.ts";

/* What ops/ has for a cluster: a second file for compose, manifests for Kubernetes, alerts. */

const ops = join(ROOT, "ops");
const text = (path: string) => readFileSync(join(ROOT, path), "utf8");
const folder = mkdtempSync(join(tmpdir(), "tollgate-files-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

interface Service {
  readonly volumes?: readonly string[];
  readonly ports?: readonly string[];
  readonly secrets?: readonly string[];
  readonly command?: readonly string[];
  readonly environment?: Readonly<Record<string, string>>;
  readonly networks?: { readonly default: { readonly ipv4_address: string } };
  readonly depends_on?: readonly string[];
}

describe("ops/compose.cluster.yaml (P3)", () => {
  const source = text("ops/compose.cluster.yaml");
  // `!override` is Compose's: what stands there replaces what the first file says, and is not added to it.
  const override = (collection: "map" | "seq") => ({ tag: "!override", collection }) as const;
  const compose = parse(source, { merge: true, customTags: [override("map"), override("seq")] }) as {
    services: Record<string, Service>;
    volumes: object;
    secrets: object;
    networks: { default: { ipam: { config: { subnet: string }[] } } };
  };
  const first = parse(text("ops/compose.yaml"), { merge: true }) as typeof compose;
  const { services } = compose;
  const nodes = ["relay", "relay-2", "relay-3"];

  it("has three nodes, three NATS, three MongoDB and Kamailio, with files, volumes and secrets that are there", () => {
    expect(Object.keys(services).sort()).toEqual(
      ["nats", "nats-2", "nats-3", "mongo", "mongo-2", "mongo-3", ...nodes, "billing", "kamailio"].sort(),
    );
    for (const { volumes = [], secrets = [], depends_on = [] } of Object.values(services)) {
      for (const volume of volumes) {
        const [from = ""] = volume.split(":");
        if (from.startsWith(".")) expect(existsSync(resolve(ops, from)), volume).toBe(true);
        else expect({ ...first.volumes, ...compose.volumes }).toHaveProperty([from]);
      }
      for (const secret of secrets) expect({ ...first.secrets, ...compose.secrets }).toHaveProperty([secret]);
      for (const other of depends_on) expect(services).toHaveProperty([other]);
    }
    const places = Object.values(services).flatMap(({ volumes = [] }) => volumes.filter((one) => !one.startsWith(".")));
    expect(new Set(places).size).toBe(places.length); // nobody shares a disk
  });

  it("gives the nodes and Kamailio addresses that they tell each other", () => {
    const addresses = nodes.map((name) => services[name]!.networks!.default.ipv4_address);
    const listed = [...text("ops/compose/dispatcher.list").matchAll(/^1 sip:([\d.]+):5060$/gm)].map(([, one]) => one);
    expect(listed).toEqual(addresses);
    const kamailio = services.kamailio!.networks!.default.ipv4_address;
    const loaded = loadConfig(join(ops, "compose/node.yaml"));
    expect(loaded.ok ? loaded.value : loaded.error).toMatchObject({ roles: ["relay"], trustedProxies: [kamailio] });
    for (const address of [...addresses, kamailio]) expect(address).toMatch(/^172\.30\.53\.\d+$/);
    expect(compose.networks.default.ipam.config).toEqual([{ subnet: "172.30.53.0/24" }]);
    expect(services.kamailio!.command).toContain(`udp:${kamailio}:5060`);
  });

  it.each(["node", "cluster-billing"])("gives %s a configuration that names all NATS and MongoDB servers", (name) => {
    const loaded = loadConfig(join(ops, `compose/${name}.yaml`));
    expect(loaded.ok ? loaded.value : loaded.error).toMatchObject({
      bus: { servers: ["nats://nats:4222", "nats://nats-2:4222", "nats://nats-3:4222"], replicas: 3 },
      store: { url: "mongodb://mongo:27017,mongo-2:27017,mongo-3:27017/tollgate?replicaSet=rs0" },
    });
  });

  it("opens Kamailio alone, to this machine unless it is told to", () => {
    const ports = Object.values(services).flatMap(({ ports = [] }) => ports);
    expect(ports).toEqual(services.kamailio!.ports);
    for (const port of ports) expect(port).toMatch(/^\$\{SIP_ADDRESS:-127\.0\.0\.1\}:5060:5060\/(udp|tcp)$/);
  });

  it("makes the replica set and its users by one command, which may be run again", () => {
    const run = (state: { members?: unknown; users: string[] }) => {
      const fail = (codeName: string) => Object.assign(new Error(codeName), { codeName });
      const made: unknown[] = [];
      const createUser = (user: { user: string }) => {
        if (state.users.includes(user.user)) throw fail("Unauthorized");
        state.users.push(user.user);
        made.push(user);
      };
      const getUser = (user: string) => (state.users.includes(user) ? { user } : null);
      const db = {
        hello: () => ({ isWritablePrimary: true }),
        getSiblingDB: () => ({ createUser, getUser, auth() {} }),
      };
      const rs = {
        initiate: ({ members }: { members: unknown }) => {
          if (state.members) throw fail("AlreadyInitialized");
          state.members = members;
        },
      };
      const required = () => ({ readFileSync: (path: string) => `${path.split("/").at(-1)}\n` });
      new Function("db", "rs", "require", "print", "sleep", text("ops/compose/replica-set.js"))(
        ...[db, rs, required, () => {}, () => {}],
      );
      return made;
    };
    const state = { users: [] as string[] };
    expect(run(state)).toEqual([
      { user: "root", pwd: "mongodb-root-password", roles: ["root"] },
      { user: "tollgate", pwd: "mongodb-password", roles: [{ role: "readWrite", db: "tollgate" }] },
    ]);
    expect(state).toHaveProperty("members.2", { _id: 2, host: "mongo-3:27017" });
    expect(run(state)).toEqual([]);
  });

  it("is taken by docker compose", ({ skip }) => {
    skip(spawnSync("docker", ["compose", "version"]).status !== 0, "docker compose is not installed");
    const secrets = ["NATS_RELAY", "NATS_BILLING", "NATS_SHOP", "MONGODB", "MONGODB_ROOT"].map(
      (one) => `${one}_PASSWORD`,
    );
    const env = Object.fromEntries([...secrets, "EVENT_SECRET", "MONGODB_KEY"].map((name) => [name, "x"]));
    const files = ["-f", "ops/compose.yaml", "-f", "ops/compose.cluster.yaml"];
    const { stderr, status } = spawnSync("docker", ["compose", ...files, "config", "--quiet"], {
      ...{ cwd: ROOT, encoding: "utf8" as const, env: { ...process.env, ...env } },
    });
    expect({ stderr, status }).toMatchObject({ status: 0 });
  });
});

describe("ops/kubernetes/tollgate.yaml (P3)", () => {
  const documents = parseAllDocuments(text("ops/kubernetes/tollgate.yaml"));
  // biome-ignore lint/suspicious/noExplicitAny: manifests are as deep as Kubernetes likes
  const all = documents.map((one) => one.toJS() as any);
  const of = (kind: string) => all.find((one) => one.kind === kind);
  const set = of("StatefulSet");
  const pod = set.spec.template.spec;
  const [container] = pod.containers;

  it("is YAML, each manifest of a kind and version that Kubernetes has, in one namespace", () => {
    expect(documents.flatMap(({ errors }) => errors)).toEqual([]);
    expect(all.map(({ apiVersion, kind }) => `${apiVersion} ${kind}`)).toEqual([
      "v1 ConfigMap",
      "v1 Service",
      "apps/v1 StatefulSet",
      "policy/v1 PodDisruptionBudget",
      "apps/v1 Deployment",
    ]);
    expect(new Set(all.map(({ metadata }) => metadata.namespace))).toEqual(new Set(["tollgate"]));
  });

  it("has configurations without mistakes, and mounts what they name", () => {
    for (const [name, role] of [
      ["relay.yaml", "relay"],
      ["billing.yaml", "billing"],
    ] as const) {
      const read = parseConfig(of("ConfigMap").data[name], name);
      expect(read.ok ? read.value : read.error).toMatchObject({ roles: [role], data: expect.stringContaining("data") });
    }
    for (const { template } of [set.spec, of("Deployment").spec]) {
      const { containers, volumes = [] } = template.spec;
      const there = [...volumes, ...set.spec.volumeClaimTemplates.map((one: { metadata: object }) => one.metadata)];
      for (const { name } of containers[0].volumeMounts) expect(there.map((one) => one.name)).toContain(name);
    }
  });

  it("asks /livez and /readyz by the relay's own HTTP, which need neither NATS nor MongoDB", () => {
    const { http } = parse(of("ConfigMap").data["relay.yaml"]);
    for (const [probe, path] of [
      ["startupProbe", "/livez"],
      ["livenessProbe", "/livez"],
      ["readinessProbe", "/readyz"],
    ] as const) {
      const { host, port, path: asked } = container[probe].httpGet;
      expect([asked, `${host}:${port}`, pod.hostNetwork]).toEqual([path, http.listen, true]);
    }
  });

  it("drains a node before it is stopped, and waits for that; one node at a time", () => {
    const [, , , within] = container.lifecycle.preStop.exec.command;
    expect(container.lifecycle.preStop.exec.command).toEqual(["tollgate", "drain", "--within", within]);
    expect(pod.terminationGracePeriodSeconds).toBeGreaterThanOrEqual(Number(within) + 32 + 10);
    expect(of("PodDisruptionBudget").spec.maxUnavailable).toBe(1);
    for (const selector of [of("PodDisruptionBudget").spec.selector.matchLabels, set.spec.selector.matchLabels])
      expect(set.spec.template.metadata.labels).toEqual(selector);
    expect(of("Service").spec.selector).toEqual(set.spec.selector.matchLabels);
    expect([set.spec.serviceName, set.spec.replicas]).toEqual([of("Service").metadata.name, 3]);
  });

  it("is taken by kubeconform", ({ skip }) => {
    const schemas = process.env.KUBERNETES_SCHEMAS; // a folder, or a URL; kubeconform brings none
    skip(
      schemas === undefined || spawnSync("kubeconform", ["-v"]).status !== 0,
      "kubeconform is not installed, or KUBERNETES_SCHEMAS does not say where schemas are",
    );
    const file = join(folder, "tollgate.yaml");
    writeFileSync(file, text("ops/kubernetes/tollgate.yaml"));
    const { stdout, status } = spawnSync("kubeconform", ["-strict", "-schema-location", schemas!, file], {
      encoding: "utf8",
    });
    expect({ stdout, status }).toEqual({ stdout: "", status: 0 });
  });
});

describe("ops/monitoring/cluster-alerts.yaml (P3)", () => {
  it("has rules of metrics that there are, each with what to do", () => {
    const { groups } = parse(text("ops/monitoring/cluster-alerts.yaml"));
    const rules = groups.flatMap((group: { rules: object[] }) => group.rules);
    const known = new Set([...text("ops/guide/running.md").matchAll(/^\| `(tollgate_\w+)`/gm)].map(([, name]) => name));
    for (const { alert, expr, annotations, labels } of rules) {
      const named = expr.match(/tollgate_\w+/g);
      for (const name of named) expect(known, `${alert}: ${name}`).toContain(name);
      expect(annotations.summary, alert).toMatch(/\w/);
      expect(["warning", "critical"]).toContain(labels.severity);
    }
    const all = text("ops/monitoring/cluster-alerts.yaml");
    for (const about of ["nodes_up", "lag_ms", "without_standby", "taken_up", "silent"])
      expect(all).toContain(`tollgate_cluster_${about}`);
  });
});
