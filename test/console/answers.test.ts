import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { OPERATIONS } from "../../src/operations/all.ts";
import { ROWS, type Row } from "./answers.ts";
import { type AnswersLab, answersLab } from "./answers-world.ts";
import { checkerOf, DESCRIBED, placesIn, placesOf, type Schema } from "./documented.ts";

/** No state of a chart has an action at its exit. */
const NEVER_SEEN = ["listMachines .machines[].states[].exit[]"];

const JSON_TYPE = "application/json";
const ids = OPERATIONS.map(({ id }) => id);
const isFile = new Set(OPERATIONS.filter(({ file }) => file).map(({ id }) => id));
const describedOf = (id: string) => DESCRIBED.get(id) ?? expect.fail(`the document has no ${id}`);
const schemaOf = (id: string) => describedOf(id).answers[JSON_TYPE]!;

let world: AnswersLab;
beforeAll(async () => {
  world = await answersLab();
});
afterAll(() => world.lab.close());

const ask = (row: Row) => world.lab.ask(describedOf(row.id).method, row.url, { token: world.token, body: row.body });

describe("what an operation answers by HTTP", () => {
  const answers: { readonly id: string; readonly json: object }[] = [];
  const types = new Map<string, Set<string>>();

  it.each(ROWS.map((row) => [row.id, row.url, row] as const))(
    "%s: %s is what the document says",
    async (id, _, row) => {
      await row.before?.(world.lab);
      const { status, json, text, headers } = await ask(row);
      expect(status, text).toBe(200);
      const type = headers["content-type"]!.replace(/;.*/, "");
      types.set(id, (types.get(id) ?? new Set()).add(type));
      expect(text).not.toBe("");
      if (isFile.has(id)) return;
      expect(checkerOf(schemaOf(id))(json)).toBe("");
      answers.push({ id, json });
    },
  );

  it("is held against the document for every operation", () => {
    const asked = new Set(ROWS.map(({ id }) => id));
    expect(ids.filter((id) => !asked.has(id))).toEqual([]);
    expect([...DESCRIBED.keys()].filter((id) => id !== "watchCalls").sort()).toEqual([...ids].sort());
  });

  it("comes in each media type that the document names, and in no other", () => {
    for (const id of ids) expect([...types.get(id)!].sort(), id).toEqual(Object.keys(describedOf(id).answers).sort());
  });

  it("was seen with every field that the document names, and with something in every list", () => {
    const seen = new Map<string, Set<string>>();
    for (const { id, json } of answers) {
      const places = seen.get(id) ?? new Set();
      seen.set(id, places);
      for (const place of placesOf(schemaOf(id), json)) places.add(place);
    }
    const named = ids
      .filter((id) => !isFile.has(id))
      .flatMap((id) => [...placesIn(schemaOf(id))].map((one) => ({ id, ...one, key: keyOf(one) })));
    // Where several operations answer the same, as with a user, one of them shows what is there at times only.
    const elsewhere = new Set(named.filter(({ id, place }) => seen.get(id)?.has(place)).map(({ key }) => key));
    const unseen = named.filter(({ id, place, key }) => !seen.get(id)?.has(place) && !elsewhere.has(key));
    expect([...new Set(unseen.map(({ id, place }) => `${id} ${place}`))]).toEqual(NEVER_SEEN);
  });

  it("would be found wrong with a field that is not named, and without one that must be there, at any depth", () => {
    for (const { id, json } of answers) {
      const check = checkerOf(schemaOf(id));
      for (const [place, spoilt] of spoiltOf(json))
        if (!(id === "showStory" && place.startsWith(".items"))) expect(check(spoilt), `${id} ${place}`).not.toBe("");
      for (const name of (schemaOf(id) as { required: string[] }).required)
        expect(check({ ...json, [name]: undefined }), `${id} without ${name}`).not.toBe("");
    }
  });
});

/** By its name and what it is; a list's entries, by their whole place. */
const keyOf = ({ place, schema }: { readonly place: string; readonly schema: Schema }): string =>
  `${/[^.]*$/.exec(place)![0]} ${JSON.stringify(schema)}`;

/** The same value, each time with one more field in one of its objects. */
function* spoiltOf(value: unknown, at = ""): Generator<readonly [string, unknown]> {
  if (typeof value !== "object" || value === null) return;
  if (!Array.isArray(value)) yield [at, { ...value, unnamed: { of: "nothing" } }];
  for (const [name, below] of Object.entries(value))
    for (const [place, spoilt] of spoiltOf(below, `${at}.${name}`))
      yield [place, Array.isArray(value) ? value.with(Number(name), spoilt) : { ...value, [name]: spoilt }];
}
