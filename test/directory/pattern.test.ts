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
    ["(a+)+", "repetition of a group"],
    ["(a*)*b", "repetition of a group"],
    ["(?:a|aa)+", "repetition of a group"],
    ["(aa?)*", "repetition of a group"],
    ["((ab)|c){20,}", "repetition of a group"],
    ["(a)\\1", "back-references"],
    ["(?<x>a)\\k<x>", "back-references"],
    ["(?=a)b", "look-ahead"],
    ["(?<!a)b", "look-behind"],
    ["a*b*c*d*", "at most 3 unbounded"],
    ["(", "a regular expression"],
    ["[", "a regular expression"],
    ["a".repeat(MATCH_CHARS + 1), "at most 1024 characters"],
  ])("refuse %s, which a stranger's text could make slow, or which is none", (source, why) => {
    expect(refusal(source)).toContain(why);
  });

  it.each(["(abc)+", "[+*(]+x", "\\(+", "(wine|beer)?", "a{1,3}(b?c){2}", "(?<name>[a-z]+)@.*", "\\d{1,5}", "a+?b"])(
    "take %s",
    (source) => {
      expect(refusal(source)).toBeUndefined();
    },
  );

  it("stay quick on hostile text with as many repetitions as are allowed", () => {
    const pattern = compiled(".*a.*b.*c");
    const start = performance.now();
    expect(pattern.match("ab".repeat(MATCH_CHARS / 2))).toBeUndefined();
    expect(performance.now() - start).toBeLessThan(2000);
  });
});
