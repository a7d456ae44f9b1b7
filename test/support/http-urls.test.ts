import { describe, expect, it } from "vitest";
import { retryAfterMs } from "../../src/support/http-send.ts";
import { isOpen, isPostUrl } from "../../src/support/http-urls.ts";

describe("a URL to which secrets are posted", () => {
  it.each([
    ["http://billing.example/usage", true],
    ["HTTP://billing.example/usage", true],
    ["Http://192.0.2.1/", true],
    ["http://127.0.0.1:4318", false],
    ["http://[::1]/", false],
    ["http://localhost/", false],
    ["https://billing.example/usage", false],
    ["no URL", false],
  ])("can be read by others or not: %s", (text, open) => {
    expect(isOpen(text)).toBe(open);
  });

  it.each([
    ["https://billing.example/usage", true],
    ["http://127.0.0.1:4318", true],
    ["https://alice:secret@billing.example/", false],
    ["https://billing.example/?key=secret", false],
    ["https://billing.example/#part", false],
    ["ftp://billing.example/", false],
    ["billing.example", false],
  ])("has no secrets of its own: %s", (text, right) => {
    expect(isPostUrl(text)).toBe(right);
  });
});

describe("Retry-After (RFC 9110 §10.2.3)", () => {
  const now = Date.UTC(2026, 0, 5, 10);
  it.each([
    ["120", 120_000],
    [" 5 ", 5_000],
    ["0", 0],
    ["Mon, 05 Jan 2026 10:00:30 GMT", 30_000],
    ["Mon, 05 Jan 2026 09:00:00 GMT", 0],
    ["soon", undefined],
    [undefined, undefined],
  ])("%s", (retryAfter, ms) => {
    expect(retryAfterMs({ retryAfter }, now)).toBe(ms);
  });
});
