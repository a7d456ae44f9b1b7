import { describe, expect, it } from "vitest";
import { type SipRequest, SipResponse } from "../../src/sip/message.ts";
import { answerTo, DESTINATION, FakeFlow, requestFrom, requestToSend, Sender, setUp } from "./harness.ts";

const respond = (status: number) => new SipResponse(status, "Whatever");

describe("matching requests to server transactions (RFC 3261 §17.2.3)", () => {
  it.each([
    ["another branch", { branch: "z9hG4bKother", callId: "c2" }],
    ["another sent-by host", { sentBy: "192.0.2.9:5060", callId: "c2" }],
    ["another sent-by port", { sentBy: "192.0.2.1:5061", callId: "c2" }],
  ])("takes a request with %s for a new one", (_what, parts) => {
    const { receive, user } = setUp();
    receive(requestFrom("OPTIONS"));
    receive(requestFrom("OPTIONS", parts));
    expect(user.story).toEqual(["OPTIONS", "OPTIONS"]);
  });

  it("takes another method with the same branch for a new request", () => {
    const { receive, user } = setUp();
    receive(requestFrom("OPTIONS"));
    receive(requestFrom("INFO"));
    expect(user.story).toEqual(["OPTIONS", "INFO"]);
  });

  it("compares the sent-by host without regard to case", () => {
    const { receive, user } = setUp();
    receive(requestFrom("OPTIONS", { sentBy: "PC.example.com" }));
    receive(requestFrom("OPTIONS", { sentBy: "pc.Example.com" }));
    expect(user.story).toEqual(["OPTIONS"]);
  });

  it.each(["", "1", "z9hG4bK"])("matches by header fields where the branch is '%s', as RFC 2543 did", (branch) => {
    const { receive, user, flow } = setUp();
    const parts = { branch };
    receive(requestFrom("INVITE", parts));
    receive(requestFrom("INVITE", parts));
    expect(user.story).toEqual(["INVITE"]);
    user.last.respond(respond(486));
    receive(requestFrom("INVITE", parts));
    expect(flow.story).toEqual(["486/INVITE 0", "486/INVITE 0"]);
    receive(requestFrom("ACK", { ...parts, toTag: flow.last.toTag }));
    receive(requestFrom("INVITE", parts));
    expect(flow.story).toHaveLength(2);
    expect(user.story).toEqual(["INVITE"]);
  });

  it("takes an RFC 2543 ACK with another To tag for one of a 2xx", () => {
    const { receive, user } = setUp();
    receive(requestFrom("INVITE", { branch: "1" }));
    user.last.respond(respond(486));
    receive(requestFrom("ACK", { branch: "1", toTag: "another" }));
    expect(user.story).toEqual(["INVITE", "ack 1"]);
  });

  it.each([{ cseq: 2 }, { fromTag: "f2" }, { callId: "c2" }, { uri: "sip:carol@example.com", callId: "c3" }])(
    "takes an RFC 2543 request that differs in %o for a new one",
    (parts) => {
      const { receive, user } = setUp();
      receive(requestFrom("INVITE", { branch: "" }));
      receive(requestFrom("INVITE", { branch: "", ...parts }));
      expect(user.story).toEqual(["INVITE", "INVITE"]);
    },
  );

  it("passes an ACK that matches nothing to the user (RFC 3261 §13.2.2.4)", () => {
    const { receive, user, layer } = setUp();
    receive(requestFrom("ACK", { branch: "z9hG4bKnew", cseq: 7, toTag: "t" }));
    expect(user.story).toEqual(["ack 7"]);
    expect(layer.size).toBe(0);
  });
});

describe("matching responses to client transactions (RFC 3261 §17.1.3)", () => {
  it("drops a response of another branch or method, and counts it (RFC 6026 §8.2)", () => {
    const { layer, receive, flow } = setUp();
    const sender = new Sender();
    layer.send(requestToSend("INFO"), DESTINATION, sender);
    const sent = flow.last;
    const otherMethod = answerTo(sent, 200);
    otherMethod.headers.set("CSeq", "1 BYE");
    receive(otherMethod);
    const otherBranch = answerTo(sent, 200);
    otherBranch.headers.set("Via", "SIP/2.0/UDP 198.51.100.1:5060;branch=z9hG4bKother");
    receive(otherBranch);
    expect(sender.story).toEqual([]);
    expect(layer.stats.strayResponses).toBe(2);
    receive(answerTo(sent, 200));
    expect(sender.story).toEqual(["final 200"]);
  });

  it("drops a response with more than one Via: it was not meant for us (RFC 3261 §8.1.3.3)", () => {
    const { layer, receive, flow } = setUp();
    const sender = new Sender();
    layer.send(requestToSend("INFO"), DESTINATION, sender);
    const response = answerTo(flow.last, 200);
    response.headers.fields.splice(1, 0, response.headers.fields[0]!.with("SIP/2.0/UDP 203.0.113.1"));
    receive(response);
    expect(sender.story).toEqual([]);
  });

  it("drops a stray 2xx to INVITE", () => {
    const { layer, receive, user } = setUp();
    const invite = requestFrom("INVITE");
    receive(answerTo(invite, 200));
    expect(layer.stats.strayResponses).toBe(1);
    expect(user.story).toEqual([]);
  });

  it("keeps the answers to an INVITE and to its CANCEL apart, though they share a branch", () => {
    const { layer, receive, flow } = setUp();
    const sender = new Sender();
    const invite = requestToSend("INVITE");
    const transaction = layer.send(invite, DESTINATION, sender);
    receive(answerTo(invite, 180));
    transaction.cancel();
    expect(layer.size).toBe(2);
    receive(answerTo(flow.last, 481));
    expect(sender.story).toEqual(["provisional 180"]);
  });
});

describe("CANCEL at the server (RFC 3261 §9.2)", () => {
  it("is answered 200 and told to the INVITE's user, once", () => {
    const { receive, user, flow } = setUp();
    receive(requestFrom("INVITE"));
    const told: string[] = [];
    user.last.onCancel = (cancel) => told.push(cancel.headers.get("reason") ?? "");
    const cancel = requestFrom("CANCEL", {}, [["Reason", "SIP;cause=200"]]);
    receive(cancel);
    receive(cancel);
    expect(told).toEqual(["SIP;cause=200"]);
    expect(flow.story).toEqual(["200/CANCEL 0", "200/CANCEL 0"]);
    expect(user.story).toEqual(["INVITE"]);
  });

  it("is answered with the To tag of the INVITE's own answers", () => {
    const { receive, user, flow } = setUp();
    receive(requestFrom("INVITE"));
    user.last.onCancel = () => user.last.respond(respond(487));
    user.last.respond(respond(180));
    receive(requestFrom("CANCEL"));
    const tags = flow.sent.map(({ message }) => message.toTag);
    expect(flow.story).toEqual(["180/INVITE 0", "200/CANCEL 0", "487/INVITE 0"]);
    expect(new Set(tags).size).toBe(1);
  });

  it("fixes the To tag when it comes before any answer", () => {
    const { receive, user, flow } = setUp();
    receive(requestFrom("INVITE"));
    receive(requestFrom("CANCEL"));
    user.last.respond(respond(487));
    expect(flow.sent[0]?.message.toTag).toBeDefined();
    expect(flow.sent[1]?.message.toTag).toBe(flow.sent[0]?.message.toTag);
  });

  it("has no effect once a final response was given", () => {
    const { receive, user, flow } = setUp();
    receive(requestFrom("INVITE"));
    user.last.onCancel = () => expect.fail("told");
    user.last.respond(respond(200));
    receive(requestFrom("CANCEL"));
    expect(flow.story).toEqual(["200/INVITE 0", "200/CANCEL 0"]);
  });

  it("is answered 200 and has no effect on another method", () => {
    const { receive, user, flow } = setUp();
    receive(requestFrom("OPTIONS"));
    receive(requestFrom("CANCEL"));
    expect(flow.story).toEqual(["200/CANCEL 0"]);
    expect(user.story).toEqual(["OPTIONS"]);
  });

  it("is answered 481 where nothing matches, the same way each time and without a transaction", () => {
    const { receive, user, flow, layer } = setUp();
    receive(requestFrom("CANCEL"));
    receive(requestFrom("CANCEL"));
    expect(flow.story).toEqual(["481/CANCEL 0", "481/CANCEL 0"]);
    expect(flow.sent[0]?.message.toTag).toBe(flow.sent[1]?.message.toTag);
    expect(user.story).toEqual([]);
    expect(layer.size).toBe(0);
  });
});

describe("merged requests (RFC 3261 §8.2.2.2)", () => {
  it("answers 482 to a copy that came by another way", () => {
    const { receive, user, flow, layer } = setUp();
    receive(requestFrom("INVITE", { branch: "z9hG4bK1" }));
    receive(requestFrom("INVITE", { branch: "z9hG4bK2" }));
    expect(user.story).toEqual(["INVITE"]);
    expect(flow.story).toEqual(["482/INVITE 0"]);
    expect(flow.last.via?.params.get("branch")).toBe("z9hG4bK2");
    expect(layer.stats.merged).toBe(1);
    receive(requestFrom("ACK", { branch: "z9hG4bK2", toTag: flow.last.toTag }));
    expect(user.story).toEqual(["INVITE"]);
  });

  it("takes the request again once the first one's transaction has ended", () => {
    const { receive, user, clock } = setUp();
    receive(requestFrom("OPTIONS", { branch: "z9hG4bK1" }));
    user.last.respond(respond(200));
    clock.advance(31_999);
    receive(requestFrom("OPTIONS", { branch: "z9hG4bK2" }));
    expect(user.story).toHaveLength(1);
    clock.advance(32_001);
    receive(requestFrom("OPTIONS", { branch: "z9hG4bK3" }));
    expect(user.story).toHaveLength(2);
  });

  it("does not concern requests within a dialog, other CSeq numbers, or other methods", () => {
    const { receive, user } = setUp();
    receive(requestFrom("INFO", { branch: "z9hG4bK1", toTag: "t" }));
    receive(requestFrom("INFO", { branch: "z9hG4bK2", toTag: "t" }));
    receive(requestFrom("OPTIONS", { branch: "z9hG4bK3" }));
    receive(requestFrom("OPTIONS", { branch: "z9hG4bK4", cseq: 2 }));
    receive(requestFrom("MESSAGE", { branch: "z9hG4bK5" }));
    expect(user.story).toHaveLength(5);
  });
});

describe("bounds (decision 14)", () => {
  it("answers 503 with Retry-After over the bound, keeps nothing, and absorbs its ACK", () => {
    const { receive, user, flow, layer } = setUp("udp", { bounds: { maxTransactions: 1, retryAfterS: 7 } });
    receive(requestFrom("OPTIONS"));
    receive(requestFrom("INVITE", { branch: "z9hG4bK2", callId: "c2" }));
    expect(flow.story).toEqual(["503/INVITE 0"]);
    expect(flow.last.headers.get("retry-after")).toBe("7");
    expect(layer.size).toBe(1);
    receive(requestFrom("ACK", { branch: "z9hG4bK2", callId: "c2", toTag: flow.last.toTag }));
    expect(user.story).toEqual(["OPTIONS"]);
    expect(layer.stats.refused).toBe(1);
  });

  it("answers 503 without a transaction when the transport asks for it, with one To tag, and drops the ACK (RFC 3261 §8.2.7)", () => {
    const { layer, user, flow } = setUp("udp", { bounds: { retryAfterS: 5 } });
    const invite = requestFrom("INVITE", { branch: "z9hG4bK2", callId: "c2" });
    const tags = new Set<string>();
    const after = new Set<number>();
    for (let n = 0; n < 20; n++) {
      layer.refuse?.(invite, flow);
      tags.add(flow.last.toTag!);
      after.add(Number(flow.last.headers.get("retry-after")));
    }
    expect(tags.size).toBe(1);
    expect([...after].sort((a, b) => a - b)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]); // not all come back at once
    layer.received(requestFrom("ACK", { branch: "z9hG4bK2", callId: "c2", toTag: flow.last.toTag }), flow);
    expect(layer.size).toBe(0);
    expect(user.story).toEqual([]);
  });

  it("tells a proxy no time, which would keep all of its clients away (RFC 7339 §5.10.2)", () => {
    const { layer, flow } = setUp("udp");
    const invite = requestFrom("INVITE");
    invite.headers.fields.splice(1, 0, invite.headers.fields[0]!.with("SIP/2.0/UDP 192.0.2.9;branch=z9hG4bK0"));
    layer.refuse?.(invite, flow);
    expect(flow.last.headers.has("retry-after")).toBe(false);
  });

  it("refuses nothing that is under way: what comes again is a repetition", () => {
    const { layer, receive, user, flow } = setUp("udp");
    const invite = requestFrom("INVITE");
    receive(invite);
    layer.refuse?.(invite, flow);
    expect(flow.story.filter((sent) => sent.startsWith("503"))).toEqual([]);
    expect(layer.stats.retransmissions).toBe(1);
    expect(user.story).toEqual(["INVITE"]);
  });

  it("still lets requests within dialogs in, up to a bound of their own", () => {
    const { receive, user, flow } = setUp("udp", { bounds: { maxTransactions: 1, maxTransactionsInDialogs: 2 } });
    receive(requestFrom("OPTIONS"));
    receive(requestFrom("BYE", { branch: "z9hG4bK2", toTag: "t", cseq: 2 }));
    receive(requestFrom("BYE", { branch: "z9hG4bK3", toTag: "t", cseq: 3 }));
    expect(user.story).toEqual(["OPTIONS", "BYE"]);
    expect(flow.story).toEqual(["503/BYE 0"]);
  });

  it("still lets the CANCEL of an INVITE in", () => {
    const { receive, user, flow } = setUp("udp", { bounds: { maxTransactions: 1, maxTransactionsInDialogs: 1 } });
    receive(requestFrom("INVITE"));
    let told = false;
    user.last.onCancel = () => {
      told = true;
    };
    receive(requestFrom("CANCEL"));
    expect(told).toBe(true);
    expect(flow.story).toEqual(["200/CANCEL 0"]);
  });
});

describe("what cannot be read", () => {
  it("is answered where enough of a request is there, without a transaction", () => {
    const { layer, flow } = setUp();
    const request = requestFrom("INVITE");
    layer.malformed({ reason: "Contact cannot be read", status: 400, request }, flow);
    expect(flow.story).toEqual(["400/INVITE 0"]);
    const { last } = flow;
    expect(!last.isRequest && last.reason).toBe("Contact cannot be read");
    expect(last.toTag).toBeDefined();
    expect(layer.size).toBe(0);
  });

  it.each([
    ["<sip:bob@example.com>;tag=a;tag=b", "<sip:bob@example.com>;tag=a;tag=b"],
    ["<sip:bob@example.com;tag=a", "<sip:bob@example.com;tag=a"],
    ['"Bob <sip:bob@example.com> ; TAG = a', '"Bob <sip:bob@example.com> ; TAG = a'],
    ["<sip:bob@example.com>;tag=a, <sip:carol@example.com>", "<sip:bob@example.com>;tag=a, <sip:carol@example.com>"],
    ["<sip:bob@example.com;tag=a>", expect.stringMatching(/^<sip:bob@example.com;tag=a>;tag=./)],
    ['"no ;tag=a" <sip:bob@example.com>', expect.stringMatching(/^"no ;tag=a" <sip:bob@example.com>;tag=./)],
  ])("is answered with the one tag that its To has, or with one of ours: %s (RFC 3261 §8.2.6.2)", (to, answered) => {
    const { layer, flow } = setUp();
    const request = requestFrom("INVITE");
    request.headers.set("To", to);
    request.changed();
    let text = "";
    flow.send = (bytes) => {
      text = bytes.toString();
    };
    layer.malformed({ reason: "Bad To", status: 400, request }, flow);
    expect(/^To: ([^\r]*)/m.exec(text)?.[1]).toEqual(answered);
  });

  it("is dropped where it is an ACK, a response or nothing", () => {
    const { layer, flow } = setUp();
    layer.malformed({ reason: "bad", status: 400, request: requestFrom("ACK") }, flow);
    layer.malformed({ reason: "bad", status: 400 }, flow);
    expect(flow.story).toEqual([]);
    expect(layer.stats.malformed).toBe(2);
  });
});

describe("a user that throws (decision 13)", () => {
  it("costs that request a 500 and nothing else", () => {
    const { receive, user, flow, layer } = setUp();
    user.onRequest = () => {
      throw new Error("trouble");
    };
    receive(requestFrom("INVITE"));
    expect(flow.story).toEqual(["500/INVITE 0"]);
    expect(layer.stats.failures).toBe(1);
    user.onRequest = undefined;
    receive(requestFrom("OPTIONS", { branch: "z9hG4bK2", callId: "c2" }));
    expect(user.story).toEqual(["INVITE", "OPTIONS"]);
  });

  it("is not answered 500 if it had answered", () => {
    const { receive, user, flow } = setUp();
    user.onRequest = (transaction) => {
      transaction.respond(respond(404));
      throw new Error("trouble");
    };
    receive(requestFrom("INVITE"));
    expect(flow.story).toEqual(["404/INVITE 0"]);
  });

  it("does not stop timers, responses or other transactions on a failed flow", () => {
    const { layer, receive, flow, clock } = setUp("udp");
    const fail = () => {
      throw new Error("trouble");
    };
    const bad = { final: fail, timeout: fail, transportError: fail };
    const good = new Sender();
    layer.send(requestToSend("INFO"), DESTINATION, bad);
    receive(answerTo(flow.last, 200));
    layer.send(requestToSend("INFO"), DESTINATION, bad);
    clock.advance(32_000);
    layer.send(requestToSend("INFO"), DESTINATION, bad);
    layer.send(requestToSend("INFO"), DESTINATION, good);
    layer.flowFailed(flow, "gone");
    expect(good.story).toEqual(["transportError gone"]);
    expect(layer.stats.failures).toBe(3);
    clock.advance(5_000);
    expect(layer.size).toBe(0);
  });
});

describe("flows", () => {
  it("tells only the transactions on the flow that failed", () => {
    const { layer, flow, useFlow, clock } = setUp("tcp");
    const [one, two] = [new Sender(), new Sender()];
    layer.send(requestToSend("INFO"), DESTINATION, one);
    const other = new FakeFlow(clock, "tcp");
    useFlow(other);
    layer.send(requestToSend("INFO"), DESTINATION, two);
    layer.flowFailed(flow, "gone");
    expect(one.story).toEqual(["transportError gone"]);
    expect(two.story).toEqual([]);
  });
});

describe("sending", () => {
  it("sends an ACK for a 2xx without a transaction and with a branch of its own (RFC 3261 §13.2.2.4)", () => {
    const { layer, flow } = setUp();
    const sent = layer.sendAck(requestToSend("ACK"), DESTINATION);
    expect(flow.story).toEqual(["ACK 0"]);
    expect(layer.size).toBe(0);
    sent.flow.send(sent.bytes);
    expect(flow.story).toEqual(["ACK 0", "ACK 0"]);
  });

  it.each(["ACK", "CANCEL"])("refuses to make a transaction for %s: that is a mistake in the program", (method) => {
    const { layer } = setUp();
    expect(() => layer.send(requestToSend(method), DESTINATION, new Sender())).toThrow(TypeError);
  });

  it("gives each request its own branch (RFC 3261 §8.1.1.7)", () => {
    const { layer } = setUp();
    const branches = [1, 2, 3].map(() => layer.send(requestToSend("INFO"), DESTINATION, new Sender()).branch);
    expect(new Set(branches).size).toBe(3);
  });
});

describe("a challenge without a transaction (RFC 3261 §8.2.7)", () => {
  const challenging = () => {
    const lab = setUp();
    let challenges = 0;
    lab.layer.attach(
      Object.assign(lab.user, {
        challenge: (request: SipRequest) => {
          if (request.headers.has("authorization")) return undefined;
          const response = new SipResponse(401, "Unauthorized");
          response.headers.add("WWW-Authenticate", `Digest nonce="${++challenges}"`);
          return response;
        },
      }),
    );
    return lab;
  };

  it("answers an INVITE as often as it comes, with the same To tag, keeps nothing, and takes no notice of its ACK", () => {
    const { receive, layer, flow, user } = challenging();
    for (let n = 0; n < 3; n++) receive(requestFrom("INVITE"));
    receive(requestFrom("ACK", { toTag: flow.last.toTag }));
    expect(flow.story).toEqual(["401/INVITE 0", "401/INVITE 0", "401/INVITE 0"]);
    expect(user.story).toEqual([]);
    expect([layer.size, layer.timersRunning, layer.stats.challenged]).toEqual([0, 0, 3]);
    expect(flow.last.headers.get("www-authenticate")).toBe('Digest nonce="3"');
  });

  it("does not send a challenge again by itself: a client that missed it asks again", () => {
    const { receive, clock, flow } = challenging();
    receive(requestFrom("INVITE"));
    clock.advance(64_000);
    expect(flow.story).toHaveLength(1);
  });

  it("gives the user what brings credentials, what is inside a dialog, and what is no INVITE", () => {
    const { receive, user } = challenging();
    receive(requestFrom("INVITE", { branch: "z9hG4bK1", cseq: 1 }, [["Authorization", "Digest"]]));
    receive(requestFrom("INVITE", { branch: "z9hG4bK2", cseq: 2, toTag: "t" }));
    receive(requestFrom("OPTIONS", { branch: "z9hG4bK3", cseq: 3 }));
    expect(user.story).toEqual(["INVITE", "INVITE", "OPTIONS"]);
  });
});
