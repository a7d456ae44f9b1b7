import { describe, expect, it } from "vitest";
import { SipResponse } from "../../src/sip/message.ts";
import { answerTo, DESTINATION, requestFrom, requestToSend, Sender, setUp } from "./harness.ts";

/*
 * decision 16: the timers of RFC 3261 §17 and RFC 6026 go by what has passed, and somebody may set the wall clock
 * meanwhile.
 */

type All = ReturnType<typeof setUp>;

/** What each of the four does until nothing of it is left, on an unreliable transport. */
const STORIES: readonly [name: string, begin: (all: All) => () => readonly string[]][] = [
  [
    "an INVITE client transaction without an answer (timers A, B)",
    ({ layer }) => {
      const sender = new Sender();
      layer.send(requestToSend("INVITE"), DESTINATION, sender);
      return () => sender.story;
    },
  ],
  [
    "an INVITE client transaction that is refused (timer D)",
    ({ layer, flow, receive }) => {
      const sender = new Sender();
      layer.send(requestToSend("INVITE"), DESTINATION, sender);
      receive(answerTo(flow.last, 486));
      return () => sender.story;
    },
  ],
  [
    "an INVITE client transaction that is answered (timer M)",
    ({ layer, flow, receive }) => {
      const sender = new Sender();
      layer.send(requestToSend("INVITE"), DESTINATION, sender);
      receive(answerTo(flow.last, 200));
      return () => sender.story;
    },
  ],
  [
    "a client transaction of another method without an answer (timers E, F)",
    ({ layer }) => {
      const sender = new Sender();
      layer.send(requestToSend("OPTIONS"), DESTINATION, sender);
      return () => sender.story;
    },
  ],
  [
    "a client transaction of another method that is answered (timer K)",
    ({ layer, flow, receive }) => {
      const sender = new Sender();
      layer.send(requestToSend("OPTIONS"), DESTINATION, sender);
      receive(answerTo(flow.last, 200));
      return () => sender.story;
    },
  ],
  [
    "an INVITE server transaction whose refusal is not acknowledged (timers G, H)",
    ({ receive, user }) => {
      receive(requestFrom("INVITE"));
      user.last.respond(new SipResponse(486, "Busy Here"));
      return () => user.story;
    },
  ],
  [
    "an INVITE server transaction whose refusal is acknowledged (timer I)",
    ({ receive, user, flow }) => {
      receive(requestFrom("INVITE"));
      user.last.respond(new SipResponse(486, "Busy Here"));
      receive(requestFrom("ACK", { toTag: flow.last.toTag }));
      return () => user.story;
    },
  ],
  [
    "an INVITE server transaction that is answered (timer L)",
    ({ receive, user }) => {
      receive(requestFrom("INVITE"));
      user.last.respond(new SipResponse(200, "OK"));
      return () => user.story;
    },
  ],
  [
    "a server transaction of another method (timer J)",
    ({ receive, user }) => {
      receive(requestFrom("OPTIONS"));
      user.last.respond(new SipResponse(200, "OK"));
      return () => user.story;
    },
  ],
];

/**
 * What was sent when, what the user heard, and when nothing was left. `byMs`: the wall clock is set by so much, again
 * and again.
 */
function play(begin: (all: All) => () => readonly string[], byMs: number) {
  const all = setUp();
  const heard = begin(all);
  let [left, byThen] = [all.layer.size, 0];
  for (let ms = 0; ms < 70_000; ms += 50) {
    all.clock.setWall((ms / 50) % 3 === 0 ? byMs : 0);
    all.clock.advance(50);
    if (all.layer.size !== left) [left, byThen] = [all.layer.size, ms + 50];
  }
  return { sent: all.flow.story, heard: [...heard()], left, byThen };
}

describe.each(STORIES)("%s", (_, begin) => {
  it.each([-86_400_000, -60_000, 60_000, 86_400_000])("is the same where the wall clock is set by %i ms", (byMs) => {
    const undisturbed = play(begin, 0);
    expect(undisturbed).toMatchObject({ left: 0 });
    expect(undisturbed.byThen).toBeGreaterThan(4_000);
    expect(play(begin, byMs)).toEqual(undisturbed);
  });
});
