import { describe, expect, it } from "vitest";
import { Headers } from "../../src/sip/message.ts";
import { minSeOf, sessionExpiresOf } from "../../src/sip/session-expires.ts";

describe("Session-Expires and Min-SE (RFC 4028 §4, §5)", () => {
  it.each([
    ["4000", { seconds: 4000 }],
    ["4000;refresher=uas", { seconds: 4000, refresher: "uas" }],
    [" 90 ; x=y ; Refresher = UAC ; z", { seconds: 90, refresher: "uac" }],
    ["0090", { seconds: 90 }],
    ["90;refresher=both", { seconds: 90 }],
    ["2147483647", { seconds: 2_147_483_647 }],
    ["2147483648", undefined],
    ["-1", undefined],
    ["", undefined],
    ["90 s", undefined],
    [";refresher=uas", undefined],
  ])("%j", (value, read) => {
    expect(sessionExpiresOf(new Headers().add("Session-Expires", value))).toEqual(read);
    expect(sessionExpiresOf(new Headers().add("x", value))).toEqual(read);
    expect(minSeOf(new Headers().add("Min-SE", value))).toBe(read?.seconds ?? 0);
  });

  it("are nothing where they are missing", () => {
    expect(sessionExpiresOf(new Headers())).toBeUndefined();
    expect(minSeOf(new Headers())).toBe(0);
  });
});
