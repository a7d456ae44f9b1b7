import { describe, expect, it } from "vitest";
import { messageId, secretOctets, signed } from "../../src/usage/signature.ts";

describe("the signature of Standard Webhooks", () => {
  it("is that of the reference libraries", () => {
    const secret = secretOctets("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw") as Buffer;
    const headers = signed("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, '{"test": 2432232314}', [secret]);
    expect(headers["webhook-signature"]).toBe("v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    expect(headers).toMatchObject({ "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek", "webhook-timestamp": "1614265330" });
  });

  it("has one signature for each secret", () => {
    const headers = signed("msg_1", 1, "{}", [Buffer.alloc(24, 1), Buffer.alloc(24, 2)]);
    expect(headers["webhook-signature"]).toMatch(/^v1,\S+ v1,\S+$/);
  });

  it("has an id without full stops, the same each time", () => {
    expect(messageId(["s1:charge:shop:1.5"])).toMatch(/^msg_[A-Za-z0-9_-]{32}$/);
    expect(messageId(["s1:ended"])).toBe(messageId(["s1:ended"]));
    expect(messageId(["s1:ended"])).not.toBe(messageId(["s2:ended"]));
  });

  it("has an id for several events together, which no other events have", () => {
    const id = messageId(["s1:ended", "s2:ended"]);
    expect(id).toBe(messageId(["s1:ended", "s2:ended"]));
    const others = [["s1:ended"], ["s2:ended", "s1:ended"], ["s1:ended,s2:ended"], ["s1:ended", "s2", "ended"]];
    for (const ids of others) expect(messageId(ids)).not.toBe(id);
  });

  it("takes secrets of 24 to 64 octets in base64, and says what is wrong with others", () => {
    expect(secretOctets("secret")).toContain("whsec_");
    expect(secretOctets("whsec_*")).toContain("not base64");
    expect(secretOctets(`whsec_${Buffer.alloc(23).toString("base64")}`)).toContain("23 octets");
    expect(secretOctets(`whsec_${Buffer.alloc(65).toString("base64")}`)).toContain("65 octets");
  });
});
