import { describe, expect, it } from "vitest";
import { bodyFormat, readFields } from "../../src/directory/body.ts";

const read = (text: string, format: "xml" | "json", maxBytes = 16_384) =>
  readFields(Buffer.from(text), format, maxBytes);
const field = (text: string, format: "xml" | "json", path: string) => {
  const fields = read(text, format);
  if (!fields.ok) throw new Error(fields.error);
  return fields.value.get(path.split("."));
};
const error = (text: string, format: "xml" | "json", maxBytes?: number) => {
  const fields = read(text, format, maxBytes);
  return fields.ok ? undefined : fields.error;
};

describe("fields of an XML body (M1, M3)", () => {
  const xml = `<?xml version="1.0"?><!-- <!-- x -->
    <r:request xmlns:r="urn:x" lang="en &amp; de">
      <category> wine &lt;3 &#233;&#xe9; </category>
      <item n="1">red</item><item n="2">white</item>
      <note><![CDATA[a &amp; <b>]]></note>
      <constructorless/>
    </r:request>`.replace("<!-- <!-- x -->", "<!-- x -->");

  it.each([
    ["request.@lang", "en & de"],
    ["request.category", "wine <3 éé"],
    ["request.item", "red"],
    ["request.item.1", "white"],
    ["request.item.1.@n", "2"],
    ["request.category.0", "wine <3 éé"],
    ["request.note", "a &amp; <b>"],
    ["request.constructorless", ""],
    ["request", undefined],
    ["request.nothing", undefined],
    ["request.item.2", undefined],
    ["request.category.toString", undefined],
    ["constructor.name", undefined],
  ])("%s is %s", (path, value) => {
    expect(field(xml, "xml", path)).toBe(value);
  });

  it.each([
    ['<!DOCTYPE a [<!ENTITY x "y">]><a>&x;</a>', "XML Body With DOCTYPE"],
    ['<!doctype a SYSTEM "http://elsewhere.example/x"><a/>', "XML Body With DOCTYPE"],
    ["<a><b></a></b>", "Body Is Not XML"],
    ["<a", "Body Is Not XML"],
    ["wine", "Body Is Not XML"],
    [`${"<a>".repeat(40)}${"</a>".repeat(40)}`, "Body Is Not XML"],
    ["<a><__proto__>x</__proto__></a>", "Body Is Not XML"],
  ])("refuses %s", (text, why) => {
    expect(error(text, "xml")).toBe(why);
  });

  it("leaves an entity as it is written, since none is known", () => {
    expect(field("<a>&x;&eacute;</a>", "xml", "a")).toBe("&x;&eacute;");
  });
});

describe("fields of a JSON body (M1, M3)", () => {
  const json = '{"order":{"items":[{"name":"red","n":2},{"name":"white"}],"gift":true,"none":null},"@lang":"en"}';

  it.each([
    ["order.items.0.name", "red"],
    ["order.items.name", "red"],
    ["order.items.1.name", "white"],
    ["order.items.0.n", "2"],
    ["order.gift", "true"],
    ["@lang", "en"],
    ["order.none", undefined],
    ["order", undefined],
    ["order.items.length", undefined],
    ["__proto__.x", undefined],
  ])("%s is %s", (path, value) => {
    expect(field(json, "json", path)).toBe(value);
  });

  it.each([
    ["{", "Body Is Not JSON"],
    [`${"[".repeat(33)}${"]".repeat(33)}`, "JSON Body Too Deep"],
  ])("refuses %s", (text, why) => {
    expect(error(text, "json")).toBe(why);
  });

  it("takes brackets within text for text", () => {
    expect(field(JSON.stringify({ a: `\\"${"[".repeat(100)}` }), "json", "a")).toHaveLength(102);
  });
});

describe("bodies", () => {
  it("are refused above the bound", () => {
    expect(error('{"a":1}', "json", 6)).toBe("Body Too Large");
    expect(error('{"a":1}', "json", 7)).toBeUndefined();
  });

  it.each([
    ["application/xml", "xml"],
    ["TEXT/XML", "xml"],
    ["application/vnd.shop+xml", "xml"],
    ["application/json", "json"],
    ["application/vnd.shop+json", "json"],
    ["application/sdp", undefined],
    ["", undefined],
  ])("of type %s are read as %s", (type, format) => {
    expect(bodyFormat(type)).toBe(format);
  });
});
