import { describe, expect, it } from "vitest";
import { KeptContacts } from "../../src/node/kept-contacts.ts";
import { Bindings } from "../../src/registrar/bindings.ts";
import type { BindingStore, StoredBinding } from "../../src/registrar/store.ts";
import { PeerLog } from "../../src/support/peer-log.ts";
import type { Flow } from "../../src/transport/types.ts";
import { silent } from "../charging/samples.ts";
import { binding } from "../registrar/samples.ts";
import { TestClock } from "../support/test-clock.ts";

class Memory implements BindingStore {
  readonly kept = new Map<string, StoredBinding>();
  broken = false;
  list = async () => [...this.kept.values()];
  write = async (put: readonly StoredBinding[], remove: readonly string[]) => {
    if (this.broken) throw new Error("disk full");
    for (const id of remove) this.kept.delete(id);
    for (const one of put) this.kept.set(one.id, one);
  };
}

async function relay(store: BindingStore, clock = new TestClock()) {
  const bindings = new Bindings({ perUser: 10, all: 100 });
  const kept = new KeptContacts({ store, clock, peerLog: new PeerLog({ log: silent, clock }) });
  await kept.restore(bindings);
  const settle = async () => {
    clock.advance(1_000);
    for (let i = 0; i < 10; i++) await Promise.resolve();
  };
  const made = (over: Parameters<typeof binding>[0] = {}) =>
    binding({ since: clock.monotonic(), until: clock.monotonic() + 3_600_000, ...over });
  const users = () => [...bindings.all(clock.monotonic())].map(({ user }) => user);
  return { bindings, kept, settle, made, users, clock };
}

describe("what clients have registered, after a new start (P7)", () => {
  it("is known again, for the time that is left by the time of day", async () => {
    const store = new Memory();
    const first = await relay(store);
    first.bindings.put(first.made());
    await first.settle();
    const clock = new TestClock();
    clock.advance(3_000_000); // and another monotonic clock
    const second = await relay(store, clock);
    expect(second.users()).toEqual(["alice"]);
    clock.advance(600_000);
    expect(second.users()).toEqual([]);
  });

  it("is not what went with its connection, nor what was removed", async () => {
    const store = new Memory();
    const first = await relay(store);
    const flow = { reliable: true, open: true } as Flow;
    first.bindings.put(first.made({ user: "bob", flow, survives: false }));
    first.bindings.put(first.made({ user: "carol" }));
    await first.settle();
    first.bindings.removeAll("carol");
    first.bindings.put(first.made());
    await first.kept.close();
    expect((await relay(store)).users()).toEqual(["alice"]);
  });

  it("is written later where the store is away", async () => {
    const store = new Memory();
    store.broken = true;
    const first = await relay(store);
    first.bindings.put(first.made());
    await first.settle();
    store.broken = false;
    await first.settle();
    expect(store.kept.size).toBe(1);
  });

  it("is left out, and removed, where it is no binding or has expired", async () => {
    const store = new Memory();
    store.kept.set("x", { id: "x", data: { user: 1 } as never });
    const { kept, users } = await relay(store);
    expect(users()).toEqual([]);
    await kept.close();
    expect(store.kept.size).toBe(0);
  });
});
