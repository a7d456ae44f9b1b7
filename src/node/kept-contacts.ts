import { createHash } from "node:crypto";
import type { Binding } from "../registrar/binding.ts";
import type { BindingListener, Bindings } from "../registrar/bindings.ts";
import { type BindingStore, bindingIn, dataOf, type StoredBinding } from "../registrar/store.ts";
import type { Clock, TimerHandle } from "../support/clock.ts";
import type { PeerLog } from "../support/peer-log.ts";

/** What changes in that time is written together. Phones register again and again, and lose nothing if it is lost. */
const WRITE_MS = 1_000;
/** In one write. */
const MOST = 1_000;

/**
 * Keeps what clients have registered in the store, so that a relay that is started again reaches them. Only what
 * outlives its connection is kept: a client that came by TCP comes again by itself.
 */
export class KeptContacts implements BindingListener {
  private readonly store: BindingStore;
  private readonly clock: Clock;
  private readonly peerLog: PeerLog;
  /** By id, what is to be written; undefined: it is to be removed. */
  private readonly waiting = new Map<string, StoredBinding | undefined>();
  private timer: TimerHandle;
  private writing: Promise<void> = Promise.resolve();

  constructor({ store, clock, peerLog }: { store: BindingStore; clock: Clock; peerLog: PeerLog }) {
    this.store = store;
    this.clock = clock;
    this.peerLog = peerLog;
  }

  /** Reads what was kept, and writes from now on what changes. Rejects when the store cannot be read. */
  async restore(bindings: Bindings): Promise<void> {
    const now = this.clock.monotonic();
    for (const { id, data } of await this.store.list()) {
      const binding = bindingIn(data, this.zero);
      if (binding && idOf(binding) === id && binding.until > now) bindings.learn(binding);
      else this.later(id, undefined);
    }
    bindings.listen(this);
  }

  put(binding: Binding): void {
    const id = idOf(binding);
    const lasts = binding.survives || !binding.flow?.reliable;
    this.later(id, lasts ? { id, data: dataOf(binding, this.zero) } : undefined);
  }

  gone(binding: Binding): void {
    this.later(idOf(binding), undefined);
  }

  /** Writes what waits; never rejects. */
  async close(): Promise<void> {
    this.clock.clearTimeout(this.timer);
    this.write();
    await this.writing;
    this.clock.clearTimeout(this.timer);
  }

  /** The monotonic clock's time in 1970. What is kept outlives the process, so it goes by the time of day. */
  private get zero(): number {
    return this.clock.monotonic() - this.clock.wall();
  }

  private later(id: string, stored: StoredBinding | undefined): void {
    this.waiting.set(id, stored);
    this.timer ??= this.clock.setTimeout(() => this.write(), WRITE_MS);
  }

  private write(): void {
    this.timer = undefined;
    const some = [...this.waiting].slice(0, MOST);
    if (some.length === 0) return;
    for (const [id] of some) this.waiting.delete(id);
    const put = some.flatMap(([, stored]) => stored ?? []);
    const remove = some.flatMap(([id, stored]) => (stored ? [] : [id]));
    // One write after the other, so that what was said last is what stands.
    this.writing = this.writing.then(async () => {
      try {
        await this.store.write(put, remove);
      } catch (error) {
        this.peerLog.warn("what clients have registered cannot be written", "", { err: error });
        for (const [id, stored] of some) if (!this.waiting.has(id)) this.later(id, stored);
      }
    });
    if (this.waiting.size > 0) this.timer = this.clock.setTimeout(() => this.write(), 0);
  }
}

const idOf = ({ user, key }: Binding): string => createHash("sha256").update(`${user}\n${key}`).digest("hex");
