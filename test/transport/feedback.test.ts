import { describe, expect, it } from "vitest";
import { Headers, SipRequest } from "../../src/sip/message.ts";
import { responseTo } from "../../src/sip/response.ts";
import { OverloadFeedback } from "../../src/transport/feedback.ts";
import { stampVia } from "../../src/transport/via.ts";
import { TestClock } from "../support/test-clock.ts";

/** What the answer's Via says to a peer with this Via, while so many are handled and refused in each 200 ms. */
function peer(via = ';oc;oc-algo="loss"', address = "192.0.2.4") {
  const clock = new TestClock();
  const counts = { handled: 0, refused: 0 };
  const feedback = new OverloadFeedback(clock, () => ({ ...counts }));
  const ask = (from = address, written = via) => {
    const request = new SipRequest(
      "INVITE",
      "sip:a@b",
      new Headers().add("Via", `SIP/2.0/UDP ${from};branch=z${written}`),
    );
    stampVia(request, from, 5060, feedback);
    return responseTo(request, 200).via!.params;
  };
  return {
    clock,
    ask,
    /** `n` windows pass. */
    pass(handled: number, refused: number, n = 1) {
      let said = ask();
      for (let i = 0; i < n; i++) {
        counts.handled += handled;
        counts.refused += refused;
        clock.advance(200);
        said = ask();
      }
      return said;
    },
  };
}

describe("overload control by feedback (RFC 7339)", () => {
  it("says nothing to who does not ask", () => {
    const { ask } = peer("");
    expect(["oc", "oc-algo", "oc-validity", "oc-seq"].filter((name) => ask().has(name))).toEqual([]);
  });

  it("says that all is well, to who asks: oc=0 and oc-validity=0 (§5.1)", () => {
    const said = peer().ask();
    expect([said.get("oc"), said.get("oc-algo"), said.get("oc-validity")]).toEqual(["0", "loss", "0"]);
    expect(Number(said.get("oc-seq"))).toBeGreaterThan(0);
  });

  it("says by how many percent to send less, more as long as it is too much, less when it is not (§7.1)", () => {
    const { pass } = peer();
    expect(Number(pass(75, 25).get("oc"))).toBe(25);
    expect(pass(75, 25).get("oc-validity")).toBe("1000");
    const more = Number(pass(75, 25).get("oc"));
    expect(more).toBeGreaterThan(40);
    expect(Number(pass(1, 1_000, 20).get("oc"))).toBe(90); // never all
    const less = Number(pass(100, 0).get("oc"));
    expect(less).toBeLessThan(90);
    const well = pass(100, 0, 40);
    expect([well.get("oc"), well.get("oc-validity")]).toEqual(["0", "0"]);
  });

  it("numbers what it says, upwards (§5.2)", () => {
    const { ask, clock } = peer();
    const seqs = Array.from({ length: 5 }, () => {
      clock.advance(1);
      return Number(ask().get("oc-seq"));
    });
    expect(seqs).toEqual([...new Set(seqs)].sort((a, b) => a - b));
  });

  it("takes the peer's own words for nothing", () => {
    const said = peer(';oc=90;oc-algo="loss";oc-validity=100000;oc-seq=9').ask();
    expect([said.get("oc"), said.get("oc-validity")]).toEqual(["0", "0"]);
    expect(said.get("oc-seq")).not.toBe("9");
  });

  it("keeps rport and received beside it", () => {
    const said = peer(';rport;oc;oc-algo="loss"').ask();
    expect([said.get("rport"), said.get("received"), said.get("oc")]).toEqual(["5060", "192.0.2.4", "0"]);
  });
});

describe("overload control by rate (RFC 7415)", () => {
  it("says how many requests in a second each peer may send", () => {
    const it = peer(';oc;oc-algo="rate,loss"');
    const said = it.pass(300, 100);
    expect([said.get("oc-algo"), said.get("oc")]).toEqual(["rate", "1500"]);
    it.ask("192.0.2.5");
    it.ask("192.0.2.6");
    expect(it.ask().get("oc")).toBe("500");
  });

  it("says oc-validity=0 while all is well, since 0 alone would stop the peer (RFC 7339 §5.1)", () => {
    const said = peer(';oc;oc-algo="rate"').ask();
    expect([said.get("oc"), said.get("oc-algo"), said.get("oc-validity")]).toEqual(["0", "rate", "0"]);
  });

  it("chooses loss where the peer names nothing else that is known here, or names it first", () => {
    for (const algo of ['"loss,rate"', '"A,loss"', "loss"])
      expect(peer(`;oc;oc-algo=${algo}`).ask().get("oc-algo")).toBe("loss");
  });
});
