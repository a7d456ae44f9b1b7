import { describe, expect, it } from "vitest";
import { callEvent } from "../../src/bus/call-events.ts";
import { CONTENT_TYPE, fromCloudEvent, toCloudEvent } from "../../src/bus/cloud-events.ts";
import {
  type ChargingEvent,
  chargeMade,
  chargeRefused,
  creditExhausted,
  creditLow,
  creditReserved,
  sessionChanged,
  sessionEnded,
  sessionMoved,
  sessionStarted,
} from "../../src/charging/events/events.ts";
import { aCharge, facts, JANUARY } from "../charging/samples.ts";
import { call } from "../contract/calls.contract.ts";
import { asyncapi, messageOf, undocumented } from "../support/asyncapi.ts";

const second = facts({ id: "s2", previous: { session: "s1", by: "change" }, lateChargesMs: 5000, hold: "h1" });
/** One of each kind, as the relay makes them. */
const everyKind: Record<ChargingEvent["type"], ChargingEvent> = {
  "session.started": sessionStarted(facts(), JANUARY),
  "session.ended": sessionEnded(facts(), JANUARY, JANUARY + 5000, "client"),
  "session.changed": sessionChanged(second, facts(), JANUARY, JANUARY + 5000),
  "session.moved": sessionMoved(second, facts(), JANUARY, true),
  "charge.made": chargeMade(facts(), JANUARY, aCharge({ id: "Fäßchen \u{1F377}" }), "info"),
  "charge.refused": chargeRefused(facts(), JANUARY, 1, "too much", "7"),
  "credit.reserved": creditReserved(second, JANUARY, 1, { currency: "EUR", amount: "0.25", until: JANUARY + 60_000 }),
  "credit.low": creditLow(second, JANUARY, 1, { currency: "EUR", free: "1.50", below: "5.00" }),
  "credit.exhausted": creditExhausted(second, JANUARY, 1, { currency: "EUR", endsAt: JANUARY + 60_000 }),
};

describe("events as CloudEvents 1.0 (P2)", () => {
  it.each(Object.entries(everyKind))("%s is as ops/asyncapi.yaml says, and comes back whole", (type, event) => {
    const text = toCloudEvent(event, "urn:tollgate:node:a");
    const { name, contentType, validate } = messageOf(`tollgate.events.${type}`);
    expect(contentType).toBe(CONTENT_TYPE);
    expect(undocumented(event)).toBe("");
    expect(validate(JSON.parse(text)), JSON.stringify(validate.errors)).toBe(true);
    expect(JSON.parse(text)).toMatchObject({
      type: name,
      id: event.id,
      subject: event.session.id,
      source: "urn:tollgate:node:a",
    });
    expect(fromCloudEvent(text)).toEqual({ ok: true, value: event });
  });

  it.each(Object.entries(everyKind))(
    "%s is wrong in its schema's eyes without any of its fields, or as another kind",
    (type, event) => {
      const { validate } = messageOf(`tollgate.events.${type}`);
      const cloud = JSON.parse(toCloudEvent(event, "urn:x")) as { data: Record<string, unknown> };
      const optional = ["charge.refused"].includes(type) ? ["charge"] : [];
      for (const field of Object.keys(cloud.data)) {
        const { [field]: _, ...rest } = cloud.data;
        expect(validate({ ...cloud, data: rest }), field).toBe(optional.includes(field));
      }
      expect(validate({ ...cloud, specversion: "0.3" })).toBe(false);
      const [, other] = Object.entries(everyKind).find(([kind]) => kind !== type)!;
      expect(validate(JSON.parse(toCloudEvent(other, "urn:x")))).toBe(false);
    },
  );

  it("has no field that the document does not name: also in a session and in its tariff", () => {
    const event = everyKind["session.started"];
    const more = {
      ...event,
      session: { ...event.session, tariff: { ...event.session.tariff!, colour: "red" } },
      mood: 1,
    };
    expect(undocumented(more)).toContain("data.session.tariff.colour is not in the document, data.mood is not");
    expect(undocumented({ ...event, at: -1 })).toContain("/data/at must be >= 0");
  });

  it("describes exactly the subjects that there are", () => {
    const addresses = Object.values(asyncapi.channels).map(({ address }) => address);
    expect(addresses.sort()).toEqual(
      [
        "tollgate.dead",
        "tollgate.calls.ended",
        ...Object.keys(everyKind).map((type) => `tollgate.events.${type}`),
      ].sort(),
    );
  });

  it("tell what became of a request, as ops/asyncapi.yaml says (P5)", () => {
    const { name, validate } = messageOf("tollgate.calls.ended");
    const event = JSON.parse(
      callEvent(call(1, { cost: "1.00 EUR", rule: "all", ringMs: 1, answerMs: 2 }), "urn:tollgate:node:a"),
    );
    expect(validate(event), JSON.stringify(validate.errors)).toBe(true);
    expect(event).toMatchObject({ type: name, id: "call:record0001", source: "urn:tollgate:node:a" });
  });

  it("are refused with a reason where they are none, and never throw", () => {
    const good = JSON.parse(toCloudEvent(everyKind["charge.made"], "urn:x")) as Record<string, unknown>;
    const reason = (change: Record<string, unknown>) => {
      const read = fromCloudEvent(JSON.stringify({ ...good, ...change }));
      return read.ok ? undefined : read.error;
    };
    expect(reason({})).toBeUndefined();
    expect(reason({ datacontenttype: undefined })).toBeUndefined(); // CloudEvents JSON format §3.1.1: then it is JSON
    expect(reason({ specversion: "2.0" })).toContain("specversion");
    expect(reason({ source: "" })).toContain("source");
    expect(reason({ data: [] })).toContain("data");
    expect(reason({ id: "another" })).toContain("id and data.id");
    expect(reason({ type: "tollgate.session.ended" })).toContain("type and data.type");
    expect(reason({ datacontenttype: "text/xml" })).toContain("datacontenttype");
    for (const text of ["", "{", "7", "null", "[]", "\u0000"]) expect(fromCloudEvent(text).ok).toBe(false);
  });
});
