import { describe, expect, it } from "vitest";
import { parseRequestDisposition } from "../../src/sip/disposition.ts";
import { headerKey } from "../../src/sip/names.ts";

describe("Request-Disposition (RFC 3841 §9.1)", () => {
  it("is read in any case, of one line or several", () => {
    expect(parseRequestDisposition(["proxy, recurse, parallel"])).toEqual({
      ok: true,
      value: { proxy: true, recurse: true, parallel: true },
    });
    expect(parseRequestDisposition(["No-Cancel ,NO-FORK", "sequential,queue"])).toEqual({
      ok: true,
      value: { cancel: false, fork: false, parallel: false, queue: true },
    });
  });

  it.each(["fork, no-fork", "parallel, parallel", "hurry", "fork;q=1"])("cannot be read where it says `%s`", (line) => {
    expect(parseRequestDisposition([line])).toEqual({ ok: false, error: "Bad Request-Disposition" });
  });

  it("may be written `d`", () => {
    expect(headerKey("d")).toBe("request-disposition");
  });
});
