import type { Database, RootDatabase } from "lmdb";
import type { BindingData, BindingStore, StoredBinding } from "../registrar/store.ts";
import type { LmdbDisk } from "../support/lmdb-disk.ts";

/** Where users' devices are, in LMDB. */
export class EmbeddedBindings implements BindingStore {
  private readonly root: RootDatabase;
  private readonly disk: LmdbDisk;
  private readonly db: Database<BindingData, string>;

  constructor(root: RootDatabase, disk: LmdbDisk) {
    this.root = root;
    this.disk = disk;
    this.db = root.openDB({ name: "bindings", encoding: "json" });
  }

  async list(): Promise<StoredBinding[]> {
    this.root.resetReadTxn();
    return Array.from(this.db.getRange({}), ({ key, value }) => ({ id: key, data: value }));
  }

  async write(put: readonly StoredBinding[], remove: readonly string[]): Promise<void> {
    const work = () => {
      for (const id of remove) this.db.removeSync(id);
      for (const { id, data } of put) this.db.putSync(id, data);
    };
    await this.disk.write(() => this.root.childTransaction(work), 1_024 * put.length);
  }
}
