import { describe, expect, it } from "vitest";
import { readRegister } from "../../src/registrar/read-register.ts";
import { Headers } from "../../src/sip/message.ts";

const SETTINGS = { expiresS: 3_600, minExpiresS: 60, maxExpiresS: 3_600 };
const instanceOf = (written: string) => {
  const headers = new Headers().add("Contact", `<sip:alice@192.0.2.1>;+sip.instance="${written}"`);
  const read = readRegister(headers, SETTINGS, 10);
  return read.ok ? read.value.contacts[0]?.instance : "refused";
};

describe("the device of a Contact (RFC 5626 §4.1)", () => {
  it.each([
    ["<urn:uuid:1>", "urn:uuid:1"],
    ["urn:uuid:1", "urn:uuid:1"],
    ["", undefined],
    ["<>", undefined],
    ["<urn:uu\rid:1>", undefined],
    ["<urn:uuid:1", undefined],
    ["urn:uuid: 1", undefined],
    ["<urn:\u00fcuid:1>", undefined],
    [`<${"u".repeat(201)}>`, undefined],
  ])("%j is %j", (written, instance) => {
    expect(instanceOf(written)).toBe(instance);
  });
});
