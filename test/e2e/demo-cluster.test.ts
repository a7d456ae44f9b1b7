import { jetstreamManager } from "@nats-io/jetstream";
import { connect } from "@nats-io/transport-node";
import { MongoClient } from "mongodb";
import { expect, it, onTestFinished } from "vitest";
import { withDatabase } from "../../src/cli/demo/cluster.ts";
import { demo } from "../../src/cli/demo.ts";
import { collector } from "../support/collector.ts";
import { mongoKind, NO_MONGO, startMongo } from "../support/mongo-server.ts";
import { NO_NATS, natsProgram, startNats } from "../support/nats-server.ts";

it("the demo over NATS and MongoDB bills the same by a worker, and leaves nothing in the servers (P2)", async ({
  skip,
}) => {
  skip(!natsProgram, NO_NATS);
  skip(mongoKind() === undefined, NO_MONGO);
  const nats = await startNats();
  onTestFinished(() => nats.destroy());
  const mongo = await startMongo();
  onTestFinished(() => mongo.stop());
  const { out, text } = collector();
  const env = { NATS_URL: nats.url.replace("nats://", ""), MONGODB_URL: mongo.url("mine") };
  const code = await demo({ out, cluster: true, env });
  expect(code, text()).toBe(0);
  expect(text()).toContain(`NATS: ${nats.url}`);
  expect(text()).toContain("a billing worker");
  expect(text()).toMatch(/All as expected: \d+ checks/);
  // The lesson whose node is killed (P3).
  const [, scene = ""] = text().split("8. Alice takes a Spanish lesson");
  expect(scene).toMatch(
    /INVITE spanish[\s\S]*is killed: SIGKILL[\s\S]*its clock says \d\.\d s[\s\S]*on the bill so far: Workbook 3\.00[\s\S]*INFO[\s\S]*BYE/,
  );
  expect(scene).toContain("Exam");

  const connection = await connect({ servers: nats.url });
  onTestFinished(() => connection.close());
  expect(await (await jetstreamManager(connection)).streams.list().next()).toEqual([]);
  const client = new MongoClient(mongo.url("mine"));
  onTestFinished(() => client.close());
  const { databases } = await client.db().admin().listDatabases();
  expect(databases.map(({ name }) => name).filter((name) => name.startsWith("tollgate_demo"))).toEqual([]);
}, 60_000);

it("the demo over NATS and MongoDB says what is missing, and ends with 1", async () => {
  const { out, text } = collector();
  expect(await demo({ out, cluster: true, env: { NATS_URL: "nats://127.0.0.1:1", PATH: "" } })).toBe(1);
  expect(text()).toContain("--cluster needs MongoDB: set MONGODB_URL, or put mongod on the PATH");
});

it.each([
  ["mongodb://127.0.0.1:27017", "mongodb://127.0.0.1:27017/d"],
  ["mongodb://a:1,b:2/own?replicaSet=rs0", "mongodb://a:1,b:2/d?replicaSet=rs0"],
  ["mongodb://me:secret@a", "mongodb://me:secret@a/d?authSource=admin"],
  ["mongodb://me:secret@a/own?tls=true", "mongodb://me:secret@a/d?tls=true&authSource=own"],
  ["mongodb+srv://me:secret@a/?authSource=users", "mongodb+srv://me:secret@a/d?authSource=users"],
])("the demo takes a database of its own on %s, signed in as before", (url, own) => {
  expect(withDatabase(url, "d")).toBe(own);
});
