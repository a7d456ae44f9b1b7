import { describe, expect, it } from "vitest";
import { withoutPassword } from "../../src/relay/dialog/passing.ts";

describe("a password in From (M2)", () => {
  it.each([
    ["<sip:alice:secret@portal.com>;tag=1", "<sip:alice@portal.com>;tag=1"],
    ["sip:alice:secret@portal.com;tag=1", "sip:alice@portal.com;tag=1"],
    ['"sip:alice:secret@portal.com" <sip:alice:secret@portal.com>', '"sip:alice@portal.com" <sip:alice@portal.com>'],
    ["<sip:alice:sec@ret@portal.com>;tag=1", "<sip:alice@portal.com>;tag=1"],
    ["<SIPS:alice:se:c@r:et@portal.com>", "<SIPS:alice@portal.com>"],
    ["<im:alice:secret@portal.com>", "<im:alice@portal.com>"],
    ["<sip:alice@portal.com>;tag=1", "<sip:alice@portal.com>;tag=1"],
    ["<sip:portal.com:5060>;tag=1", "<sip:portal.com:5060>;tag=1"],
    ['"Alice: me" <sip:alice@portal.com:5060>', '"Alice: me" <sip:alice@portal.com:5060>'],
  ])("does not go on: %s", (written, passed) => {
    expect(withoutPassword(written)).toBe(passed);
  });

  it.each(["<sip:alice:secret@portal.com", "sip:alice:secret@portal.com <", '"a <sip:alice:secret@portal.com>'])(
    "does not go on in a line that cannot be read: %s",
    (written) => {
      expect(withoutPassword(written)).not.toContain("secret");
    },
  );
});
