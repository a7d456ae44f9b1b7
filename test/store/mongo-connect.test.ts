import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { MongoClient, MongoServerError } from "mongodb";
import { afterAll, describe, expect, it } from "vitest";
import { openMongoStore } from "../../src/store/mongo.ts";
import { clientOptions, explained } from "../../src/store/mongo-connect.ts";
import type { MongoSettings } from "../../src/store/settings.ts";
import { hasStandIn, type MongoServer, NO_STAND_IN, startMongo } from "../support/mongo-server.ts";
import { freePort } from "../support/peers.ts";

const folder = mkdtempSync(join(tmpdir(), "tollgate-mongo-test-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const file = (name: string, text: string) => {
  writeFileSync(join(folder, name), text);
  return join(folder, name);
};
const at = (url: string, over: Partial<MongoSettings> = {}): MongoSettings => ({ url, timeoutS: 1, ...over });

describe("what the driver is told", () => {
  it("waits for the journals of most servers, reads what stays, from the primary, and for no longer than it is told", () => {
    expect(clientOptions(at("mongodb://h", { timeoutS: 2 }), {})).toMatchObject({
      writeConcern: { w: "majority", journal: true, wtimeoutMS: 2000 },
      readConcern: { level: "majority" },
      readPreference: "primary",
      serverSelectionTimeoutMS: 2000,
      connectTimeoutMS: 2000,
      waitQueueTimeoutMS: 2000,
      socketTimeoutMS: 4000,
    });
  });

  it("has the password from a file or the environment, the file first", () => {
    const passwordFile = file("pw", "from file\nmore\n");
    const user = "tollgate";
    const password = (settings: Partial<MongoSettings>, env: Record<string, string>) =>
      clientOptions(at("mongodb://h", { user, ...settings }), env).auth;
    expect(password({ passwordFile }, {})).toEqual({ username: user, password: "from file" });
    expect(password({}, { TOLLGATE_MONGODB_PASSWORD: "from env" })).toEqual({ username: user, password: "from env" });
    expect(password({ passwordFile }, { TOLLGATE_MONGODB_PASSWORD: "x" })).toMatchObject({ password: "from file" });
    expect(() => password({}, {})).toThrow("there is no password: name a file in store.passwordFile");
    expect(() => password({ passwordFile: "/nowhere" }, {})).toThrow("store.passwordFile: /nowhere cannot be read");
  });

  it("has authorities, certificate and key from PEM files", () => {
    const tls = { ca: file("ca", "CA"), cert: file("cert", "CERT"), key: file("key", "KEY") };
    expect(clientOptions(at("mongodb://h", { tls }), {})).toMatchObject({
      tls: true,
      ca: "CA",
      cert: "CERT",
      key: "KEY",
    });
    expect(clientOptions(at("mongodb://h", { tls: {} }), {}).tls).toBe(true);
    expect(clientOptions(at("mongodb://h"), {}).tls).toBeUndefined();
  });
});

describe("what is wrong with MongoDB is said with what to do", () => {
  it("names host and port, and never a password", () => {
    const error = new MongoServerError({ errmsg: "Authentication failed.", code: 18 });
    const { message } = explained(error, at("mongodb://a:secret@db1:27017,db2/x?authSource=admin")) as Error;
    expect(message).toContain("MongoDB at db1:27017,db2 does not accept the user or the password");
    expect(message).not.toContain("secret");
  });

  it("where it cannot be reached", async () => {
    const port = await freePort();
    await expect(openMongoStore(at(`mongodb://127.0.0.1:${port}/x`, { timeoutS: 0.2 }))).rejects.toThrow(
      new RegExp(`MongoDB at 127.0.0.1:${port} cannot be reached: .*Is it running, and is store.url right\\?`),
    );
  });

  it("where the URL is none", async () => {
    await expect(openMongoStore(at("mongodb://h:port/x"))).rejects.toThrow("store.url cannot be understood");
  });

  const standIn = (title: string, options: string[], act: (server: MongoServer) => Promise<void>) =>
    it(title, { timeout: 60_000 }, async ({ skip }) => {
      skip(!hasStandIn(), NO_STAND_IN);
      const server = await startMongo(options);
      try {
        await act(server);
      } finally {
        await server.stop();
      }
    });

  standIn("where it is too old", ["wire=8"], async (server) => {
    await expect(openMongoStore(at(server.url("x")))).rejects.toThrow("is too old, MongoDB 4.4 or later is needed");
  });

  standIn("where a permission is missing", ["refuse=createIndexes:13"], async (server) => {
    await expect(openMongoStore(at(server.url("x")))).rejects.toThrow(
      /a permission is missing: .*Give the user the role readWrite on the database/,
    );
  });

  standIn("where an index has another shape", ["wire=13"], async (server) => {
    const client = await MongoClient.connect(server.url("x"));
    await client.db().collection("entries").createIndex({ user: 1 }, { name: "bill" });
    await client.close();
    await expect(openMongoStore(at(server.url("x")))).rejects.toThrow(
      "MongoDB has an index bill of another shape on x.entries: drop it",
    );
  });

  standIn("where it does not accept the user", ["refuse=saslStart:18"], async (server) => {
    const settings = at(server.url("x"), { user: "tollgate", passwordFile: file("pw2", "wrong") });
    await expect(openMongoStore(settings)).rejects.toThrow(
      /does not accept the user tollgate or the password: .*Check store.user and the password/,
    );
  });

  standIn(
    "where TLS fails; and it works where the certificate is known",
    [`keystore=${keystore()}`],
    async (server) => {
      await expect(openMongoStore(at(server.url("x"), { tls: {} }))).rejects.toThrow(
        /TLS failed: .*ca must have signed the server's certificate/,
      );
      const store = await openMongoStore(at(server.url("x"), { tls: { ca: join(folder, "server.pem") } }));
      expect(await store.directoryVersion()).toBe(0);
      await store.close();
    },
  );

  /** A key and a certificate for 127.0.0.1, by the tool that comes with Java. */
  function keystore(): string {
    const store = join(folder, "server.p12");
    if (!hasStandIn()) return store;
    const common = ["-keystore", store, "-storepass", "changeit", "-alias", "server"];
    const about = ["-keyalg", "EC", "-dname", "CN=127.0.0.1", "-ext", "san=ip:127.0.0.1", "-validity", "2"];
    execFileSync("keytool", ["-genkeypair", ...common, ...about], { stdio: "pipe" });
    execFileSync("keytool", ["-exportcert", "-rfc", ...common, "-file", join(folder, "server.pem")], { stdio: "pipe" });
    return store;
  }
});
