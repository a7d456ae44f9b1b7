import { readFileSync } from "node:fs";
import {
  MongoBulkWriteError,
  MongoClient,
  type MongoClientOptions,
  MongoCompatibilityError,
  MongoError,
  MongoNetworkError,
  MongoServerSelectionError,
} from "mongodb";
import { mendDriver } from "./mongo-driver.ts";
import type { MongoSettings } from "./settings.ts";

const DEFAULT_DATABASE = "tollgate";
const MAX_CONNECTIONS = 20;

/** What went wrong with MongoDB, for its operator: what it means and what to do. */
export class StoreError extends Error {}

/** The driver's options for these settings. Throws a StoreError where a file of them cannot be read. */
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
    // What is acknowledged is in the journals of most servers, and what is read will not be rolled back (DESIGN.md, decision 8).
    writeConcern: { w: "majority", journal: true, wtimeoutMS: timeoutMs },
    readConcern: { level: "majority" },
    readPreference: "primary",
    serverSelectionTimeoutMS: timeoutMs,
    connectTimeoutMS: timeoutMs,
    waitQueueTimeoutMS: timeoutMs,
    socketTimeoutMS: 2 * timeoutMs, // after the server's own bound on a write, so that its answer is heard
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

function newClient(settings: MongoSettings): MongoClient {
  const options = clientOptions(settings);
  mendDriver();
  try {
    return new MongoClient(settings.url, options);
  } catch (error) {
    throw new StoreError(`store.url cannot be understood: ${(error as Error).message}`);
  }
}

/** The path of the URL. `test`, which the driver takes where there is none, is nobody's intention. */
function databaseOf(url: string): string {
  const path = /^[^/]+:\/\/[^/?]+(?:\/([^?]*))?/.exec(url)?.[1];
  return path ? decodeURIComponent(path) : DEFAULT_DATABASE;
}

/** Host and port only: the rest of the URL may hold a password. */
export function hostsOf(url: string): string {
  return url.replace(/^[^/]+:\/\/(?:[^@/]*@)?/, "").replace(/[/?].*$/s, "");
}

/** The same fault in words for an operator; what is not known here stays as it is. */
export function explained(error: unknown, settings: MongoSettings): unknown {
  if (!(error instanceof MongoError) || error instanceof MongoBulkWriteError) return error;
  const where = `MongoDB at ${hostsOf(settings.url)}`;
  const { message, code } = error;
  const say = (text: string) => new StoreError(text, { cause: error });
  if (error instanceof MongoCompatibilityError || /wire version/.test(message))
    return say(`${where} is too old, MongoDB 4.4 or later is needed: ${message}`);
  if (code === 18 || code === 8000 || /Authentication failed|bad auth/i.test(message))
    return say(
      `${where} does not accept the user${settings.user === undefined ? "" : ` ${settings.user}`} or the password: ${message}. ` +
        "Check store.user and the password; the database in which the user was made goes into the URL as authSource",
    );
  if (code === 13)
    return say(
      `${where}: a permission is missing: ${message}. ` +
        'Give the user the role readWrite on the database: db.grantRolesToUser("USER", ["readWrite"])',
    );
  if (/certificate|self.signed|SSL|TLS/i.test(message))
    return say(`${where}: TLS failed: ${message}. Check store.tls: ca must have signed the server's certificate`);
  if (error instanceof MongoServerSelectionError || error instanceof MongoNetworkError)
    return say(`${where} cannot be reached: ${message}. Is it running, and is store.url right?`);
  return error;
}
