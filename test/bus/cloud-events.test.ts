import { readFileSync } from "node:fs";
import { join } from "node:path";
import { Ajv } from "ajv";
import addFormatsModule from "ajv-formats";
import { describe, expect, it } from "vitest";
import { parse } from "yaml";
import { CONTENT_TYPE, fromCloudEvent, toCloudEvent } from "../../src/bus/cloud-events.ts";
import {
  type ChargingEvent,
  chargeMade,
  chargeRefused,
  creditExhausted,
  creditReserved,
  sessionChanged,
  sessionEnded,
  sessionMoved,
  sessionStarted,
} from "../../src/charging/events.ts";
import { aCharge, facts, JANUARY } from "../charging/samples.ts";
import { ROOT } from "../support/project.ts";

interface Document {
  readonly channels: Record<string, { address: string; messages: Record<string, { $ref: string }> }>;
  readonly components: { messages: Record<string, { name: string; contentType: string; payload: { $ref: string } }> };
}

const document = parse(readFileSync(join(ROOT, "ops/asyncapi.yaml"), "utf8")) as Document;
const ajv = new Ajv({ strict: false, allErrors: true });
const addFormats = addFormatsModule as unknown as (to: Ajv) => void;
addFormats(ajv);
ajv.addSchema({ $id: "asyncapi", components: document.components });

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
  "credit.exhausted": creditExhausted(second, JANUARY, 1, { currency: "EUR", endsAt: JANUARY + 60_000 }),
};

/** What the message of a channel's address must look like. */
function validatorOf(address: string) {
  const channel = Object.values(document.channels).find((one) => one.address === address);
  if (!channel) throw new Error(`no channel ${address}`);
  const [message] = Object.values(channel.messages);
  const { name, contentType, payload } = document.components.messages[message!.$ref.split("/").at(-1)!]!;
  expect(contentType).toBe(CONTENT_TYPE);
  return { name, validate: ajv.compile({ $ref: `asyncapi${payload.$ref}` }) };
}

describe("events as CloudEvents 1.0 (P2)", () => {
  it.each(Object.entries(everyKind))("%s is as ops/asyncapi.yaml says, and comes back whole", (type, event) => {
    const text = toCloudEvent(event, "urn:tollgate:node:a");
    const { name, validate } = validatorOf(`tollgate.events.${type}`);
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
      const { validate } = validatorOf(`tollgate.events.${type}`);
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

  it("describes exactly the subjects that there are", () => {
    const addresses = Object.values(document.channels).map(({ address }) => address);
    expect(addresses.sort()).toEqual(
      ["tollgate.dead", ...Object.keys(everyKind).map((type) => `tollgate.events.${type}`)].sort(),
    );
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
