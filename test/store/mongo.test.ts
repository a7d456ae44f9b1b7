import { randomBytes } from "node:crypto";
import { MongoClient } from "mongodb";
import { afterAll, beforeAll, expect, it } from "vitest";
import { openMongoStore } from "../../src/store/mongo.ts";
import type { StoreAdapter } from "../contract/adapters.ts";
import { bindingsContract } from "../contract/bindings.contract.ts";
import { callsContract } from "../contract/calls.contract.ts";
import { creditContract } from "../contract/credit.contract.ts";
import { storeContract } from "../contract/store.contract.ts";
import { timeLogContract } from "../contract/time-log.contract.ts";
import { usageContract } from "../contract/usage.contract.ts";
import { type MongoServer, mongoKind, NO_MONGO, startMongo } from "../support/mongo-server.ts";

const kind = mongoKind();

if (kind === undefined) it("the store on MongoDB", ({ skip }) => skip(NO_MONGO));
else withServer(kind);

function withServer(kind: string): void {
  let server: MongoServer;
  beforeAll(async () => {
    server = await startMongo();
  }, 90_000);
  afterAll(() => server?.stop());

  const adapter: StoreAdapter = {
    name: `MongoDB (${kind})`,
    create: async () => {
      const url = server.url(`tollgate_test_${randomBytes(6).toString("hex")}`);
      return {
        open: () => openMongoStore({ url, timeoutS: 5 }),
        destroy: async () => {
          const client = await MongoClient.connect(url);
          await client.db().dropDatabase();
          await client.close();
        },
      };
    },
  };
  it("tells the time of its server, which a node's clock is held against", async () => {
    const store = await openMongoStore({ url: server.url("tollgate_test_time"), timeoutS: 5 });
    expect(Math.abs((await store.serverTime!()) - Date.now())).toBeLessThan(10_000); // on this machine
    await store.close();
  });

  storeContract(adapter);
  creditContract(adapter);
  callsContract(adapter);
  timeLogContract(adapter);
  bindingsContract(adapter);
  usageContract(adapter);
}
