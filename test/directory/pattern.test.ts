import { describe, expect, it } from "vitest";
import { compilePattern, MATCH_CHARS } from "../../src/directory/pattern.ts";

const compiled = (source: string) => {
  const pattern = compilePattern(source);
  if (!pattern.ok) throw new Error(pattern.error);
  return pattern.value;
};
const refusal = (source: string) => {
  const pattern = compilePattern(source);
  return pattern.ok ? undefined : pattern.error;
};

describe("patterns of rules (M3)", () => {
  it("match the whole text, never a part of it", () => {
    expect(compiled("sip:wine@.*").match("sip:wine@portal.example")).toBeDefined();
    expect(compiled("wine|beer").match("beer cellar")).toBeUndefined();
    expect(compiled("wine").match("wine\n")).toBeUndefined();
  });

  it("hand over their groups", () => {
    const pattern = compiled("sip:lesson-([a-z]+)@(?:.*)");
    expect(pattern.groups).toBe(1);
    expect(pattern.match("sip:lesson-english@x")?.[1]).toBe("english");
  });

  it("match nothing that is longer than the bound", () => {
    expect(compiled("a*").match("a".repeat(MATCH_CHARS))).toBeDefined();
    expect(compiled("a*").match("a".repeat(MATCH_CHARS + 1))).toBeUndefined();
  });

  it.each([
    ["(a)\\1", "back-references"],
    ["(?<x>a)\\k<x>", "back-references"],
    ["(?=a)b", "look-ahead"],
    ["(?!casino).*", "look-ahead"],
    ["(?<!a)b", "look-behind"],
    ["(?<=a)b", "look-behind"],
    ["(?>a)", "atomic groups"],
    ["a++", "possessive"],
    ["(", "a regular expression"],
    ["[", "a regular expression"],
    ["\\u0061", "a regular expression of RE2 (invalid escape sequence"],
    ["a{1001}", "a regular expression"],
    ["((a{0,30}){0,30})b", "counted repetitions"],
    ["(x{0,1000})y", "counted repetitions"],
    ["a".repeat(MATCH_CHARS + 1), "at most 1024 characters"],
  ])("refuse %s, and say why", (source, why) => {
    expect(refusal(source)).toContain(why);
  });

  it.each([
    ["(abc)+", "abcabc"],
    ["[+*(]+x", "+(x"],
    ["\\(+", "(("],
    ["(wine|beer)?", ""],
    ["a{1,3}(b?c){2}", "aabcc"],
    ["(?<name>[a-z]+)@.*", "bob@x"],
    ["\\d{1,5}", "5060"],
    ["a+?b", "aab"],
    ["(?i)sip:wine@.*", "SIP:Wine@x"],
    ["sip:wine@portal\\.example", "sip:wine@portal.example"],
    ["caf\u00e9 \u5927", "caf\u00e9 \u5927"],
    ["a.b", "a\nb"],
    ["(a|b|)c", "c"],
  ])("take %s", (source, text) => {
    expect(refusal(source)).toBeUndefined();
    expect(compiled(source).test(text)).toBe(true);
    expect(compiled(source).test(`${text}!`)).toBe(source === "(?i)sip:wine@.*" || source === "(?<name>[a-z]+)@.*");
    expect(compiled(source).match(text)?.[0]).toBe(text);
  });

  it("hand over undefined for a group that took no part", () => {
    expect(compiled("(a)|(b)").match("b")).toEqual(["b", undefined, "b"]);
  });

  const long = "a".repeat(MATCH_CHARS - 1);
  it.each([
    ["(?:[a-z]+\\.?){1,8}", `${"a".repeat(60)}!`],
    ["(?:[a-z]+\\.?){1,8}", `${long}!`],
    ["(a+)+", `${long}!`],
    ["(a|a)*b", long],
    ["(a|aa)+", `${long}!`],
    ["(.*)(.*)(.*)(.*)(.*)(.*)x", long],
    [`${"a?".repeat(100)}${"a".repeat(100)}b`, long],
    ["([a-z]*)*@", long],
    [".*a.*b.*c.*d", "abc".repeat(341)],
  ])("take a time that is in proportion to the text, whatever they are: %s", (source, text) => {
    const pattern = compiled(source);
    const start = performance.now();
    expect(pattern.match(text)).toBeUndefined();
    expect(pattern.match(text)).toBeUndefined();
    // A backtracking matcher takes minutes to years.
    expect(performance.now() - start).toBeLessThan(1500);
  });
});
