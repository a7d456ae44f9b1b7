import { describe, expect, it } from "vitest";
import { openMongoStore } from "../../src/store/mongo.ts";
import { weaknesses } from "../../src/store/mongo-url.ts";
import { storeSchema, TIMEOUT_S } from "../../src/store/settings.ts";

const HOST = "mongodb://tollgate:secret@db1:27017,db2/tollgate";
const messages = (store: unknown) => storeSchema.safeParse(store).error?.issues.map(({ message }) => message) ?? [];

describe("the URL of MongoDB", () => {
  it.each([
    "journal=false",
    "j=false",
    "JOURNAL=False",
    "w=1",
    "w=0",
    "w=2",
    "readConcernLevel=local",
    "readConcernLevel=available",
    "readPreference=secondary",
    "readPreference=nearest",
    "readPreferenceTags=dc:ny",
    "maxStalenessSeconds=120",
    "retryWrites=false",
    "retryReads=false",
    "tlsInsecure=true",
    "tlsAllowInvalidCertificates=true",
    "tlsAllowInvalidHostnames=true",
    "socketTimeoutMS=1",
    "wtimeoutMS=1",
    "serverSelectionTimeoutMS=1",
    "timeoutMS=1",
    "replicaSet=rs0&journal=false",
    "w=%31",
    "w=1&W=majority",
    "JOURNAL=false&journal=true",
  ])("may not take back what is promised: %s is refused, and named", async (options) => {
    const url = `${HOST}?${options}`;
    for (const store of [url, { url }]) {
      const [message, ...more] = messages(store);
      expect(more).toEqual([]);
      expect(message).toMatch(/^a URL without \w+=\S+: /);
      expect(message).not.toContain("secret");
    }
    await expect(openMongoStore({ url, timeoutS: 1 })).rejects.toThrow(/^store\.url: expected a URL without \w+=/);
  });

  it.each([
    "",
    "?replicaSet=rs0&authSource=admin&tls=true",
    "?retryWrites=true&w=majority&appName=cluster0",
    "?journal=true&readConcernLevel=majority&readPreference=primary&tlsInsecure=false",
    "?maxPoolSize=5&compressors=zlib&directConnection=true",
  ])("may say what promises no less: %s", (options) => {
    expect(messages(`${HOST}${options}`)).toEqual([]);
  });

  it("may not switch off TLS that the section asks for", () => {
    expect(weaknesses(`${HOST}?tls=false`, true)).toEqual(["without tls=false: store.tls is set"]);
    expect(weaknesses(`${HOST}?ssl=false`, false)).toEqual([]);
    expect(messages({ url: `${HOST}?ssl=false`, tls: {} })).toHaveLength(1);
  });

  it("names everything that is wrong", () => {
    expect(messages(`${HOST}?w=1&journal=false&readPreference=secondary`)).toHaveLength(3);
  });

  it("waits longer than an election takes, where nothing else is said", () => {
    expect(storeSchema.parse(HOST)).toMatchObject({ timeoutS: TIMEOUT_S });
    expect(TIMEOUT_S).toBeGreaterThan(12);
  });
});
