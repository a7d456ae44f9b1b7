import { describe, expect, it } from "vitest";
import {
  CHARGE_JSON,
  CHARGE_XML,
  formatChargeBody,
  isChargeType,
  MAX_CHARGES,
  parseChargeBody,
} from "../../src/charging/charges/body.ts";
import { aCharge, numbers } from "./samples.ts";

const json = (value: unknown) =>
  parseChargeBody(CHARGE_JSON, Buffer.from(typeof value === "string" ? value : JSON.stringify(value)));
const xml = (text: string) => parseChargeBody(CHARGE_XML, Buffer.from(text));
const error = (result: ReturnType<typeof json>): string => (result.ok ? "no error" : result.error);

const wire = { id: "7", item: "Riesling", unitPrice: "12.50", currency: "EUR" };
const read = { ...wire, quantity: "1" };

describe("an app server's report of charges (M14, M16)", () => {
  it("is known by its media type, whatever its case and parameters", () => {
    expect(isChargeType("Application/VND.tollgate.charge+json; charset=utf-8")).toBe(true);
    expect(isChargeType("application/vnd.tollgate.charge+xml")).toBe(true);
    expect(isChargeType("application/json")).toBe(false);
    expect(isChargeType("")).toBe(false);
    expect(error(parseChargeBody("text/plain", Buffer.from("{}")))).toContain("content type must be");
    expect(error(parseChargeBody(`${CHARGE_JSON};charset=iso-8859-1`, Buffer.from("{}")))).toBe(
      'charset must be utf-8, is "iso-8859-1"',
    );
  });

  it("holds one charge, or several", () => {
    expect(json(wire)).toEqual({ ok: true, value: [read] });
    expect(json([wire])).toEqual({ ok: true, value: [read] });
    expect(json({ charges: [wire, { ...wire, id: "8", quantity: "0.75" }] })).toEqual({
      ok: true,
      value: [read, { ...read, id: "8", quantity: "0.75" }],
    });
    const one = "<charge><id>7</id><item>Riesling</item><unitPrice>12.50</unitPrice><currency>EUR</currency></charge>";
    expect(xml(one)).toEqual({ ok: true, value: [read] });
    expect(
      xml(
        `<?xml version="1.0"?>\n<!-- two -->\n<charges xmlns="urn:x"> ${one} ${one.replace("<id>7", "<id>8")} </charges>`,
      ),
    ).toEqual({
      ok: true,
      value: [read, { ...read, id: "8" }],
    });
  });

  it("keeps amounts as they are written, never as floats", () => {
    const exact = json({ ...wire, unitPrice: "0.100000", quantity: "3.333333" });
    expect(exact.ok && exact.value[0]).toMatchObject({ unitPrice: "0.100000", quantity: "3.333333" });
    const asXml = xml(
      "<charge><id>007</id><item>1e3</item><unitPrice>0.10</unitPrice><quantity>2</quantity><currency>EUR</currency></charge>",
    );
    expect(asXml.ok && asXml.value[0]).toEqual({
      id: "007",
      item: "1e3",
      unitPrice: "0.10",
      quantity: "2",
      currency: "EUR",
    });
  });

  it("takes a JSON number that is whole, and refuses one that is not, with the reason", () => {
    const whole = json('{"id": 7, "item": "x", "unitPrice": 12, "quantity": 2, "currency": "EUR"}');
    expect(whole.ok && whole.value[0]).toMatchObject({ id: "7", unitPrice: "12", quantity: "2" });
    const body = (price: string) => `{"id": "7", "item": "costs 1.5", "unitPrice": ${price}, "currency": "EUR"}`;
    expect(error(json(body("12.5")))).toBe(
      "charge 1: unitPrice must be in quotes where it is not a whole number, is 12.5",
    );
    expect(error(json(body("1e300")))).toContain("must be in quotes");
    expect(error(json(body("9007199254740993")))).toContain("must be in quotes");
    expect(error(json(body("2.0000000000000000001")))).toBe(
      "a number that is not whole must be in quotes: it has no exact value in JSON",
    );
    expect(json(body("2")).ok).toBe(true);
  });

  it.each([
    [{ id: undefined }, "id is missing"],
    [{ id: "" }, "id must not be empty"],
    [{ id: "x".repeat(129) }, "id must have at most 128 characters, has 129"],
    [{ id: "a\u0000b" }, "id must have no control characters"],
    [{ id: "a\ud800" }, "id must have no control characters"],
    [{ id: true }, "id must be text, is true"],
    [{ item: undefined }, "item is missing"],
    [{ item: "wine\r\nred" }, "item must have no control characters"],
    [{ item: "x".repeat(201) }, "item must have at most 200 characters, has 201"],
    [{ unitPrice: undefined }, "unitPrice is missing"],
    [{ unitPrice: "x" }, 'unitPrice must be a decimal number 0 or more, at most 12 digits and 6 decimals, is "x"'],
    [
      { unitPrice: "1.1234567" },
      'unitPrice must be a decimal number 0 or more, at most 12 digits and 6 decimals, is "1.1234567"',
    ],
    [{ unitPrice: "-5" }, 'unitPrice must not be negative, is "-5": refunds are not taken'],
    [{ unitPrice: -5 }, 'unitPrice must not be negative, is "-5": refunds are not taken'],
    [{ unitPrice: null }, "unitPrice must be a decimal number, is null"],
    [{ quantity: "x" }, 'quantity must be a decimal number above 0, at most 9 digits and 6 decimals, is "x"'],
    [{ quantity: "0" }, 'quantity must be a decimal number above 0, is "0"'],
    [{ quantity: "0.000" }, 'quantity must be a decimal number above 0, is "0.000"'],
    [{ currency: undefined }, "currency is missing"],
    [{ currency: "EURO" }, 'currency must be an ISO 4217 code such as EUR, is "EURO"'],
    [{ currency: "eur" }, 'currency must be an ISO 4217 code such as EUR, is "eur"'],
    [{ qty: "2" }, 'there is no field "qty"'],
    [{ item: "\u00e9".repeat(300) }, "item must have at most 200 characters, has 300"],
  ])("says which charge is wrong and how: %j", (change, expected) => {
    expect(error(json({ charges: [wire, { ...wire, id: "8", ...change }] }))).toBe(`charge 2: ${expected}`);
  });

  it("takes a price of 0", () => expect(json({ ...wire, unitPrice: "0" }).ok).toBe(true));

  it("refuses the same id twice in one body", () => {
    expect(error(json([wire, wire]))).toBe('charge 2: id "7" stands in this body twice');
  });

  it.each([
    ["", "body is not JSON"],
    ["{", "body is not JSON"],
    ["null", 'body must be an object with "charges", or one charge'],
    ['"x"', 'body must be an object with "charges", or one charge'],
    ["[]", "body must hold at least one charge"],
    ['{"charges": []}', "body must hold at least one charge"],
    ['{"charges": {}}', '"charges" must be a list'],
    ['{"charges": [], "total": 1}', 'there is no field "total" beside "charges"'],
    ["[1]", "charge 1: must be an object with id, item, unitPrice, currency"],
    ["[null]", "charge 1: must be an object with id, item, unitPrice, currency"],
    ["{}", "charge 1: id is missing"],
  ])("refuses the JSON body %s", (text, expected) => expect(error(json(text))).toBe(expected));

  it.each([
    ["", "body is not XML"],
    ["<charges>", "body is not XML"],
    ["<charges/>", "body must hold at least one charge"],
    ["<charges></charges>", "body must hold at least one charge"],
    ["<x/>", "body must be <charges> or <charge>"],
    ["<charges>5</charges>", "<charges> must have no text beside its charges"],
    ["<charges><x/></charges>", "<charges> must hold <charge> only, has <x>"],
    ["<charge/>", "charge 1: must be an object with id, item, unitPrice, currency"],
    ["<charge><id>1</id><id>2</id></charge>", 'charge 1: id must be text, is ["1","2"]'],
    ["<charge><id><b>1</b></id></charge>", 'charge 1: id must be text, is {"b":"1"}'],
    ['<charge id="1"/>', 'charge 1: there is no field "@id"'],
  ])("refuses the XML body %s", (text, expected) => expect(error(xml(text))).toBe(expected));

  it("knows no DOCTYPE and no entities but XML's own", () => {
    const charge = (item: string) =>
      `<charge><id>1</id><item>${item}</item><unitPrice>1</unitPrice><currency>EUR</currency></charge>`;
    expect(error(xml(`<!DOCTYPE charge [<!ENTITY a "b">]>${charge("&a;")}`))).toBe(
      "body must have no DOCTYPE and no declarations",
    );
    expect(error(xml(charge("&a;")))).toContain("no entities but");
    expect(error(xml(charge("a & b")))).toContain("no entities but");
    const plain = xml(charge("Salt &amp; Pepper &lt;&#233;&#xe9;&gt;"));
    expect(plain.ok && plain.value[0]!.item).toBe("Salt & Pepper <éé>");
    const cdata = xml(charge("<![CDATA[a & <b>]]>"));
    expect(cdata.ok && cdata.value[0]!.item).toBe("a & <b>");
  });

  it("is bounded in bytes and in charges", () => {
    const many = (n: number) => Array.from({ length: n }, (_, i) => ({ ...wire, id: String(i) }));
    expect(json(many(MAX_CHARGES)).ok).toBe(true);
    expect(error(json(many(MAX_CHARGES + 1)))).toBe("body must hold at most 100 charges, has 101");
    expect(error(json(" ".repeat(65_537)))).toBe("body must be at most 65536 bytes, has 65537");
  });

  it("must be UTF-8", () => {
    expect(error(parseChargeBody(CHARGE_JSON, Buffer.from([0x22, 0xff, 0x22])))).toBe("body must be UTF-8");
    expect(error(json({ ...wire, currency: "€\u202e" }))).toBe(
      'charge 1: currency must be an ISO 4217 code such as EUR, is "??"',
    );
  });

  it("is written by formatChargeBody as parseChargeBody reads it, in JSON and XML", () => {
    const charges = [
      aCharge(),
      aCharge({ id: `<&"'>`, item: 'ワイン <赤> & "白" 🍷', quantity: "0.75" }),
      aCharge({ id: " x ", item: "]]>" }),
    ];
    for (const format of ["json", "xml"] as const) {
      const { contentType, body } = formatChargeBody(charges, format);
      const expected = format === "json" ? charges : charges.map((charge) => ({ ...charge, id: charge.id.trim() }));
      expect(parseChargeBody(contentType, Buffer.from(body))).toEqual({ ok: true, value: expected });
    }
  });

  it("never throws, whatever is cut out of or put into it", () => {
    const random = numbers(4);
    for (const format of ["json", "xml"] as const) {
      const { contentType, body } = formatChargeBody([aCharge(), aCharge({ id: "2" })], format);
      const good = Buffer.from(body);
      for (let i = 0; i < 1500; i++) {
        const at = Math.floor(random() * good.length);
        const to = at + Math.floor(random() * 6);
        const noise = Buffer.from(Array.from({ length: Math.floor(random() * 4) }, () => Math.floor(random() * 256)));
        const result = parseChargeBody(contentType, Buffer.concat([good.subarray(0, at), noise, good.subarray(to)]));
        if (!result.ok) expect(result.error).toMatch(/^[\x20-\x7e]{5,250}$/);
      }
    }
  });
});
