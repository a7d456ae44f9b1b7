import { readFileSync } from "node:fs";
import { MongoClient, type MongoClientOptions } from "mongodb";
import { mendDriver } from "./mongo-driver.ts";
import { explained, StoreError } from "./mongo-errors.ts";
import { weaknesses } from "./mongo-url.ts";
import type { MongoSettings } from "./settings.ts";

export { explained };

const DEFAULT_DATABASE = "tollgate";
const MAX_CONNECTIONS = 20;

/**
 * The driver's options for these settings. Throws a StoreError if one of their files cannot be read, or if there is a
 * user without a password.
 */
export function clientOptions(
  { user, passwordFile, tls, timeoutS }: MongoSettings,
  env: Readonly<Record<string, string | undefined>> = process.env,
): MongoClientOptions {
  const timeoutMs = Math.ceil(timeoutS * 1000);
  const password = passwordFile ? read(passwordFile, "store.passwordFile").split(/\r?\n/, 1)[0]! : passwordOf(env);
  if (user !== undefined && password === undefined)
    throw new StoreError(
      `store.user is ${user} but there is no password: name a file in store.passwordFile, or set TOLLGATE_MONGODB_PASSWORD`,
    );
  return {
    appName: "tollgate",
    // An acknowledged write is in the journals of most servers, and what is read will not be rolled back (decision 8).
    writeConcern: { w: "majority", journal: true, wtimeoutMS: timeoutMs },
    readConcern: { level: "majority" },
    readPreference: "primary",
    serverSelectionTimeoutMS: timeoutMs,
    connectTimeoutMS: timeoutMs,
    waitQueueTimeoutMS: timeoutMs,
    socketTimeoutMS: 2 * timeoutMs, // longer than the server's own limit for a write, so that its answer is heard
    maxPoolSize: MAX_CONNECTIONS,
    ignoreUndefined: true,
    ...(user !== undefined && { auth: { username: user, password: password! } }),
    ...(tls && {
      tls: true,
      ...(tls.ca !== undefined && { ca: read(tls.ca, "store.tls.ca") }),
      ...(tls.cert !== undefined && { cert: read(tls.cert, "store.tls.cert") }),
      ...(tls.key !== undefined && { key: read(tls.key, "store.tls.key") }),
    }),
  };
}

const passwordOf = (env: Readonly<Record<string, string | undefined>>): string | undefined =>
  env.TOLLGATE_MONGODB_PASSWORD || undefined;

function read(file: string, setting: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch (error) {
    throw new StoreError(`${setting}: ${file} cannot be read: ${(error as Error).message}`);
  }
}

/** A connected client and the name of the database. Rejects with a StoreError that says what to do. */
export async function connect(settings: MongoSettings): Promise<{ client: MongoClient; database: string }> {
  let client: MongoClient | undefined;
  try {
    client = newClient(settings);
    const database = databaseOf(settings.url);
    await client.connect();
    await client.db(database).command({ ping: 1 });
    return { client, database };
  } catch (error) {
    await client?.close().catch(() => {});
    throw explained(error, settings);
  }
}

/** A client that is not connected yet. `over`: options that replace those from the settings. */
export function newClient(settings: MongoSettings, over: MongoClientOptions = {}): MongoClient {
  const weak = weaknesses(settings.url, settings.tls !== undefined);
  if (weak.length > 0) throw new StoreError(`store.url: expected a URL ${weak.join("; and ")}`);
  const options = { ...clientOptions(settings), ...over };
  mendDriver();
  try {
    return new MongoClient(settings.url, options);
  } catch (error) {
    throw new StoreError(`store.url cannot be understood: ${(error as Error).message}`);
  }
}

/** The path of the URL. Without one, the driver would take `test`, which nobody means. */
function databaseOf(url: string): string {
  const path = /^[^/]+:\/\/[^/?]+(?:\/([^?]*))?/.exec(url)?.[1];
  return path ? decodeURIComponent(path) : DEFAULT_DATABASE;
}
