import { expect, it } from "vitest";
import { Outstanding } from "../../src/support/outstanding.ts";

it("waits for all that is under way, however it ends", async () => {
  const outstanding = new Outstanding();
  await outstanding.settled(); // nothing is
  const failed = Promise.reject(new Error("the disk is full"));
  let written = () => {};
  outstanding.add(failed);
  outstanding.add(
    new Promise<void>((resolve) => {
      written = resolve;
    }),
  );
  let settled = false;
  const waiting = outstanding.settled().then(() => {
    settled = true;
  });
  await Promise.allSettled([failed]);
  expect(settled).toBe(false);
  written();
  await waiting;
  await outstanding.settled();
});
