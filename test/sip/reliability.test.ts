import { describe, expect, it } from "vitest";
import { formatRAck, parseRAck, parseRSeq } from "../../src/sip/reliability.ts";

describe("RSeq and RAck (RFC 3262 §7)", () => {
  it("are read and written", () => {
    expect(parseRSeq(" 988789 ")).toEqual({ ok: true, value: 988_789 });
    expect(parseRSeq("4294967295")).toEqual({ ok: true, value: 4_294_967_295 });
    expect(parseRAck("776656 1 INVITE")).toEqual({ ok: true, value: { rseq: 776_656, cseq: 1, method: "INVITE" } });
    expect(formatRAck({ rseq: 776_656, cseq: 1, method: "INVITE" })).toBe("776656 1 INVITE");
  });

  it.each(["", "0", "4294967296", "-1", "1x", "1 2"])("RSeq `%s` is none", (text) => {
    expect(parseRSeq(text).ok).toBe(false);
  });

  it.each(["", "1", "1 1", "0 1 INVITE", "1 2147483648 INVITE", "1 1 INVITE x", "a 1 INVITE"])(
    "RAck `%s` is none",
    (text) => {
      expect(parseRAck(text).ok).toBe(false);
    },
  );
});
