import { describe, expect, it } from "vitest";
import type { Ending } from "../../machines/events.ts";
import { endedByText, reasonOf } from "../../src/relay/model/endings.ts";

const endings: [Ending, string, number, string][] = [
  [{ code: "max-duration" }, "relay: the greatest duration is over", 480, "the greatest duration is over"],
  [{ code: "credit-exhausted" }, "relay: credit exhausted", 402, "credit exhausted"],
  [{ code: "credit-unknown" }, "relay: the balance is not known", 503, "the balance is not known"],
  [{ code: "moved", what: "beer" }, "relay: moved to beer", 480, "moved to beer"],
  // A colon in the name of a service ends nothing; what stands behind one of the relay's own tells of the other end.
  [{ code: "moved", what: "a: b" }, "relay: moved to a: b", 480, "moved to a: b"],
  [{ code: "client-gone", detail: "answered 481" }, "relay: client is gone: answered 481", 480, "client is gone"],
];

describe("why a session ended", () => {
  it.each(endings)(
    "%o is a text on record, and a Reason for both ends (RFC 3326 §2)",
    (ending, record, cause, text) => {
      expect(endedByText(ending)).toBe(record);
      expect(reasonOf(ending)).toEqual({ cause, text });
    },
  );

  it("says who hung up, where it was one of the two", () => {
    expect([endedByText("client"), endedByText("server"), endedByText("fault")]).toEqual([
      "client",
      "server",
      "relay: fault",
    ]);
    expect(reasonOf("change")).toEqual({ cause: 200, text: "the client changed to another service" });
  });
});
