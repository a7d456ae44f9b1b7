import { join } from "node:path";
import type { Logger } from "../support/log.ts";
import { dataFolder } from "./data-folder.ts";
import type { StoreConfig } from "./settings.ts";
import type { Store } from "./types.ts";

/**
 * Opens the store that a configuration names (decision 7). Rejects if it cannot be used, and says what to do. `log`:
 * for events that no call reports. The adapters are loaded only when they are needed: a command that uses LMDB does not
 * wait for MongoDB's driver.
 */
export async function openStore({ data, store }: StoreConfig, log?: Logger): Promise<Store> {
  dataFolder(data);
  if (store) return (await import("./mongo.ts")).openMongoStore(store, { log });
  return (await import("./embedded.ts")).openEmbeddedStore(join(data, "store"));
}
