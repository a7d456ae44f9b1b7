import { describe, expect, it } from "vitest";
import { OpenedOnce } from "../../src/support/opened-once.ts";

/** Things whose closing waits until the test says so; `said` has what happened, in order. */
function things() {
  const said: string[] = [];
  let closed = () => {};
  let count = 0;
  const open = async () => {
    const name = `thing ${++count}`;
    said.push(`${name} opens`);
    return {
      name,
      close: () =>
        new Promise<void>((resolve) => {
          said.push(`${name} closes`);
          closed = resolve;
        }),
    };
  };
  return { once: new OpenedOnce<Awaited<ReturnType<typeof open>>>(), open, said, closed: () => closed() };
}

describe("OpenedOnce", () => {
  it("gives the same to whoever opens it while it is open, and closes it when the last one lets go", async () => {
    const { once, open, said, closed } = things();
    const [one, other] = await Promise.all([once.hold("a", open), once.hold("a", open)]);
    expect(other.thing).toBe(one.thing);
    await one.release();
    await one.release(); // a second time: it is not the other's
    expect(said).toEqual(["thing 1 opens"]);
    const last = other.release();
    await new Promise(setImmediate);
    closed();
    await last;
    expect(said).toEqual(["thing 1 opens", "thing 1 closes"]);
  });

  it("opens it anew only when it is closed", async () => {
    const { once, open, said, closed } = things();
    const one = await once.hold("a", open);
    const closing = one.release();
    const next = once.hold("a", open);
    await new Promise(setImmediate);
    expect(said).toEqual(["thing 1 opens", "thing 1 closes"]);
    closed();
    await closing;
    expect((await next).thing.name).toBe("thing 2");
  });

  it("keeps apart what has another key, and forgets what could not be opened", async () => {
    const { once, open } = things();
    const fails = async () => {
      throw new Error("no such folder");
    };
    await expect(Promise.all([once.hold("a", fails), once.hold("a", fails)])).rejects.toThrow("no such folder");
    expect((await once.hold("a", open)).thing.name).toBe("thing 1");
    expect((await once.hold("b", open)).thing.name).toBe("thing 2");
  });
});
