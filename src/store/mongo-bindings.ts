import type { Collection, Db } from "mongodb";
import type { BindingData, BindingStore, StoredBinding } from "../registrar/store.ts";
import type { Sessions } from "./mongo-sessions.ts";

interface Stored {
  readonly _id: string;
  readonly data: BindingData;
}

/** Where users' devices are, as all nodes have written it. */
export class MongoBindings implements BindingStore {
  private readonly db: Collection<Stored>;
  private readonly sessions: Sessions;

  constructor(db: Db, sessions: Sessions) {
    this.db = db.collection("bindings");
    this.sessions = sessions;
  }

  async list(): Promise<StoredBinding[]> {
    const found = await this.sessions.run((read) => this.db.find({}, read).toArray());
    return found.map(({ _id, data }) => ({ id: _id, data }));
  }

  async write(put: readonly StoredBinding[], remove: readonly string[]): Promise<void> {
    if (put.length + remove.length === 0) return;
    const puts = put.map(({ id, data }) => ({
      replaceOne: { filter: { _id: id }, replacement: { data }, upsert: true },
    }));
    const removes = remove.length > 0 ? [{ deleteMany: { filter: { _id: { $in: [...remove] } } } }] : [];
    await this.sessions.run((_, scope) => this.db.bulkWrite([...removes, ...puts], { ...scope, ordered: false }));
  }
}
