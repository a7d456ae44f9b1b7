import { describe, expect, it } from "vitest";
import { HandOver } from "../../src/cluster/hand-over.ts";
import { Headers, type SipMessage, SipRequest } from "../../src/sip/message.ts";
import { PeerLog } from "../../src/support/peer-log.ts";
import type { Flow } from "../../src/transport/types.ts";
import { silent } from "../charging/samples.ts";
import { TestClock } from "../support/test-clock.ts";
import { Wire } from "./wire.ts";

const CLIENT: Flow = {
  id: "udp/192.0.2.1:5060",
  transport: "udp",
  reliable: false,
  secure: false,
  remoteAddress: "192.0.2.1",
  remotePort: 5060,
  open: true,
  send: () => {},
};

const bye = () =>
  new SipRequest(
    "BYE",
    "sip:192.0.2.9",
    new Headers()
      .add("Via", "SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK-1")
      .add("From", "<sip:alice@portal.com>;tag=c")
      .add("To", "<sip:wine@portal.com>;tag=r")
      .add("Call-ID", "call")
      .add("CSeq", "2 BYE")
      .add("Max-Forwards", "70"),
  );

/**
 * Nodes that have been there for a while, and hand messages over to each other. `knows` and `busy` are what each of
 * them says of itself.
 */
function nodes(...names: string[]) {
  const started = justStarted(...names);
  started.clock.advance(1_000);
  return started;
}

function justStarted(...names: string[]) {
  const clock = new TestClock();
  const wire = new Wire();
  const up = new Set(names);
  const all = names.map((node) => {
    const taken: SipMessage[] = [];
    const state = { knows: false, busy: false };
    const bus = { ...wire.of(node) };
    const handOver = new HandOver({
      self: { node, epoch: 1 },
      bus,
      clock,
      peerLog: new PeerLog({ log: silent, clock }),
      others: () => [...up].filter((other) => other !== node),
      mutes: () => false,
      contactFor: () => "192.0.2.9",
      here: {
        user: { received: (message) => void taken.push(message), malformed: () => {}, flowFailed: () => {} },
        knows: () => state.knows,
        busy: () => state.busy,
      },
    });
    handOver.start();
    return { handOver, state, taken, bus };
  });
  /** The node is dead, and `seenBy` has noticed. */
  const dies = (node: string, ...seenBy: (typeof all)[number][]) => {
    up.delete(node);
    wire.cut.add(node);
    for (const { handOver } of seenBy) handOver.gone(node);
  };
  return { clock, all, dies };
}

describe("a request that came to a node which does not have its session (P3)", () => {
  it("is answered by 481 as soon as all other nodes have said no", () => {
    const { all } = nodes("node01", "node02", "node03");
    let refused = 0;
    expect(all[0]!.handOver.request(bye(), CLIENT, () => refused++)).toBe(true);
    expect(refused).toBe(1);
  });

  it("is not answered by 481 while the standby of a dead node has not noticed the death yet", () => {
    const { clock, all, dies } = nodes("node01", "node02", "node03");
    const [one, two] = all as [(typeof all)[0], (typeof all)[0]];
    let refused = 0;
    dies("node03", one); // node02 will notice it a moment later, and take the session up
    one.handOver.request(bye(), CLIENT, () => refused++);
    expect(refused).toBe(0);
    two.state.knows = true;
    clock.advance(100);
    expect([two.taken.length, refused]).toEqual([1, 0]);
    clock.advance(5_000);
    expect([two.taken.length, refused]).toEqual([1, 0]);
  });

  it("is answered by 481 a second after the death, if nobody has taken the session up", () => {
    const { clock, all, dies } = nodes("node01", "node02", "node03");
    let refused = 0;
    dies("node03", all[0]!, all[1]!);
    all[0]!.handOver.request(bye(), CLIENT, () => refused++);
    clock.advance(900);
    expect(refused).toBe(0);
    clock.advance(200);
    expect(refused).toBe(1);
  });

  it("is taken here, if this node has taken the session up in the meantime, also where no other node is left", () => {
    const { clock, all, dies } = nodes("node01", "node02");
    const [one] = all as [(typeof all)[0]];
    let refused = 0;
    dies("node02", one);
    one.state.busy = true;
    expect(one.handOver.request(bye(), CLIENT, () => refused++)).toBe(true);
    one.state.busy = false;
    one.state.knows = true;
    clock.advance(100);
    expect([one.taken.length, refused]).toEqual([1, 0]);
  });

  it("goes on as soon as this node has taken the session up, however long it has been looked for", () => {
    const { clock, all } = nodes("node01", "node02");
    const [one, other] = all as [(typeof all)[0], (typeof all)[0]];
    other.state.busy = true; // it does not say
    one.handOver.request(bye(), CLIENT, () => {});
    clock.advance(1_600); // the next question would be put after another second
    one.state.knows = true;
    one.handOver.tookUp();
    expect(one.taken).toHaveLength(1);
  });

  it("is looked for again soon after a node is gone, however long it has been looked for", () => {
    const { clock, all, dies } = nodes("node01", "node02", "node03");
    const [one, getting] = all as [(typeof all)[0], (typeof all)[0]];
    getting.state.busy = all[2]!.state.busy = true;
    one.handOver.request(bye(), CLIENT, () => {});
    clock.advance(1_600);
    dies("node03", one);
    getting.state.knows = true;
    clock.advance(100);
    expect(getting.taken).toHaveLength(1);
  });

  it("is not answered by 481 by a node that was started just now, and may not know all others yet", () => {
    const { clock, all } = justStarted("node01", "node02");
    let refused = 0;
    all[0]!.handOver.request(bye(), CLIENT, () => refused++);
    expect(refused).toBe(0);
    clock.advance(1_100);
    expect(refused).toBe(1);
  });

  it("is not answered by 481 while another node gives it away: that node says nothing of what it does not know", () => {
    const { clock, all } = nodes("node01", "node02", "node03");
    const [one, giving, getting] = all as [(typeof all)[0], (typeof all)[0], (typeof all)[0]];
    let refused = 0;
    giving.state.busy = true;
    one.handOver.request(bye(), CLIENT, () => refused++);
    expect(refused).toBe(0);
    getting.state.knows = true;
    giving.state.busy = false;
    clock.advance(100);
    expect([getting.taken.length, refused]).toEqual([1, 0]);
  });

  it("is looked for once, however often it is sent again; and ever less often where no answer comes", () => {
    const { clock, all } = nodes("node01", "node02", "node03");
    const [one, busy] = all as [(typeof all)[0], (typeof all)[0]];
    busy.state.busy = true; // it does not say
    all[2]!.state.busy = true;
    let asks = 0;
    const { tell } = one.bus;
    one.bus.tell = (topic, text) => {
      asks++;
      return tell(topic, text);
    };
    for (let ms = 0; ms < 3_500; ms += 500) {
      expect(one.handOver.request(bye(), CLIENT, () => {})).toBe(true);
      clock.advance(500);
    }
    expect(asks).toBeLessThan(10); // at 0, 0.1, 0.3, 0.7, 1.5, 2.5, 3.5 s
    busy.state.knows = true;
    clock.advance(1_000);
    expect(busy.taken).toHaveLength(0); // given up after 4 s
    one.handOver.request(bye(), CLIENT, () => {});
    expect(busy.taken).toHaveLength(1);
  });

  it("is looked for longer where it came by a connection, which brings it only once; then it gets 503", () => {
    const sent: string[] = [];
    const flow = { ...CLIENT, reliable: true, send: (bytes: Buffer) => void sent.push(bytes.toString()) } as Flow;
    const { clock, all } = nodes("node01", "node02");
    const [one, two] = all as [(typeof all)[0], (typeof all)[0]];
    two.state.busy = true; // it says nothing
    one.handOver.request(bye(), flow, () => {});
    clock.advance(19_000);
    expect(sent).toEqual([]);
    clock.advance(2_000);
    expect(sent.map((text) => text.split("\r\n", 1)[0])).toEqual(["SIP/2.0 503 Service Unavailable"]);
  });

  it("is taken by a node that gives others away", () => {
    const { all } = nodes("node01", "node02");
    const [one, giving] = all as [(typeof all)[0], (typeof all)[0]];
    giving.state.busy = giving.state.knows = true;
    one.handOver.request(bye(), CLIENT, () => {});
    expect(giving.taken).toHaveLength(1);
  });
});
