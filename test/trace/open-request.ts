import { OpenRecord } from "../../src/calls/open-record.ts";
import { Headers, SipRequest } from "../../src/sip/message.ts";
import { Timeline } from "../../src/support/timeline.ts";

const timeline = new Timeline({ monotonic: () => 0 }, 0, 0);
const taker = {
  ended() {},
  answered() {},
  forgotten() {},
  wentElsewhere() {},
  known() {},
  newId: () => "id",
  costOf: () => undefined,
};

/** The record of an INVITE that runs; `id` is the record's. */
export function openRequest(id: string, callId: string): OpenRecord {
  const invite = new SipRequest("INVITE", "sip:wine@portal.example", new Headers().add("Call-ID", callId));
  const source = { transport: "udp", remoteAddress: "192.0.2.9", remotePort: 1 } as const;
  const record = new OpenRecord(taker, "invite", timeline, invite, source);
  record.isNamed(id, callId);
  return record;
}
