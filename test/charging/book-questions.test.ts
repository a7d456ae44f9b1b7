import { describe, expect, it } from "vitest";
import type { Outcome } from "../../src/charging/charges/book.ts";
import {
  readAnswer,
  readQuestion,
  sealKey,
  writeAnswer,
  writeQuestion,
} from "../../src/charging/charges/book-questions.ts";
import type { DirectRequest } from "../../src/charging/charges/direct.ts";
import { newAppServerKey } from "../../src/directory/app-server-keys.ts";
import { systemRandom } from "../../src/support/random.ts";
import { aCharge, numbers } from "./samples.ts";

const keyOf = (appServer: string) =>
  newAppServerKey({ appServer, portalRealm: "portal.example", md5: false, now: 0, random: systemRandom }).key;
const [one, other, foreign] = [keyOf("shop"), keyOf("shop"), keyOf("bar")];
const shop = sealKey([one, other])!;
const keys = (appServer: string) =>
  appServer === "shop" ? shop : appServer === "bar" ? sealKey([foreign]) : undefined;
const request: DirectRequest = {
  session: "s1",
  charges: [aCharge(), aCharge({ id: "2", item: "ワイン 🍷" })],
  channel: "direct",
};

describe("what relays ask each other about a session's book", () => {
  it("is read as it was written, and so is the answer", () => {
    expect(readQuestion(writeQuestion(shop, "n1", "shop", request), keys)).toEqual({
      nonce: "n1",
      appServer: "shop",
      request,
    });
    const outcomes: Outcome[] = [
      { kind: "recorded" },
      { kind: "refused", refusal: { kind: "conflict", text: "other terms", charge: "c1" } },
      { kind: "refused", refusal: { kind: "unknown", text: "none" } },
    ];
    for (const outcome of outcomes)
      expect(readAnswer(shop, "n1", writeAnswer(shop, "n1", outcome))).toEqual({ ok: true, value: outcome });
    for (const unknown of [true, undefined]) {
      const failed = writeAnswer(shop, "n1", {
        kind: "failed",
        error: new Error("secret"),
        ...(unknown && { unknown }),
      });
      expect(failed).not.toContain("secret");
      const read = readAnswer(shop, "n1", failed);
      expect(read).toMatchObject({ ok: true, value: { kind: "failed", ...(unknown && { unknown }) } });
    }
  });

  it("is sealed by all keys of the app server, in whatever order they are kept; without keys by nobody", () => {
    expect(sealKey([other, one])).toEqual(shop);
    expect(sealKey([one])).not.toEqual(shop);
    expect(sealKey([])).toBeUndefined();
  });

  it("counts only for the app server whose keys have sealed it, and only whole", () => {
    const bar = keys("bar")!;
    expect(readQuestion(writeQuestion(bar, "n1", "shop", request), keys)).toBeUndefined();
    expect(readQuestion(writeQuestion(shop, "n1", "nobody", request), keys)).toBeUndefined();
    const question = writeQuestion(shop, "n1", "shop", request);
    expect(readQuestion(question.replace("12.50", "12.00"), keys)).toBeUndefined();
    const answer = writeAnswer(shop, "n1", { kind: "refused", refusal: { kind: "closed", text: "over" } });
    expect(readAnswer(shop, "n2", answer).ok).toBe(false); // of another question
    expect(readAnswer(bar, "n1", answer).ok).toBe(false);
    expect(readAnswer(shop, "n1", writeAnswer(bar, "n1", { kind: "recorded" })).ok).toBe(false);
    expect(readAnswer(shop, "n1", question).ok).toBe(false);
  });

  it("never throws, whatever comes", () => {
    const random = numbers(33);
    const good = [writeQuestion(shop, "n1", "shop", request), writeAnswer(shop, "n1", { kind: "recorded" })];
    for (let i = 0; i < 2_000; i++) {
      const text = good[i % 2]!;
      const at = Math.floor(random() * text.length);
      const broken =
        text.slice(0, at) +
        String.fromCharCode(Math.floor(random() * 0xffff)) +
        text.slice(at + Math.floor(random() * 3));
      if (broken === text) continue;
      expect(readQuestion(broken, keys)).toBeUndefined();
      expect(readAnswer(shop, "n1", broken).ok).toBe(false);
    }
    for (const text of ["", " ", "null", `${"0".repeat(64)} null`, `${"0".repeat(64)} {}`]) {
      expect(readQuestion(text, keys)).toBeUndefined();
      expect(readAnswer(shop, "n1", text).ok).toBe(false);
    }
  });
});
