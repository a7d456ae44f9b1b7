/*
 * The pairs of a state and an event that mean nothing, and why. Together with the transitions of a chart these are all
 * pairs there are: complete.test.ts says which pair is missing here, and which entry no longer holds. A state stands
 * for the states inside it.
 */

export interface Ignored {
  readonly states: readonly string[];
  readonly events: readonly string[];
  readonly why: string;
}

const BEFORE_ASKING = ["authenticating", "identifying", "searching", "reserving"] as const;

export const ignored: Readonly<Record<string, readonly Ignored[]>> = {
  request: [
    {
      states: ["identifying", "searching", "reserving", "inviting", "collecting", "declined"],
      events: ["user.accepted", "user.refused"],
      why: "the sign-in is decided once, before anything else",
    },
    {
      states: ["authenticating", "searching", "reserving", "inviting", "collecting", "declined"],
      events: ["service.identified", "service.refused"],
      why: "the rules are asked once, after the sign-in",
    },
    {
      states: ["authenticating", "identifying", "reserving", "inviting", "collecting", "declined"],
      events: ["servers.found", "servers.none"],
      why: "the search is done once, after the rules",
    },
    {
      states: ["authenticating", "identifying", "searching", "inviting", "collecting", "declined"],
      events: ["credit.held", "credit.refused"],
      why: "the balance is asked once, after the search",
    },
    {
      states: BEFORE_ASKING,
      events: ["branch.answered", "branch.failed", "branch.released"],
      why: "no app server has been asked",
    },
    {
      states: [...BEFORE_ASKING, "inviting", "declined"],
      events: ["wait.over"],
      why: "the wait begins with the first success",
    },
  ],
  session: [
    {
      states: ["answered", "established", "terminating", "leaving"],
      events: ["server.progress", "server.answer", "server.failure", "server.silent"],
      why: "the INVITE has its final answer; a repeated 2xx is acknowledged by the leg",
    },
    {
      states: ["cancelling"],
      events: ["server.progress", "server.silent"],
      why: "nobody waits any more; the INVITE's transaction ends by itself (RFC 3261 §9.1)",
    },
    {
      states: ["inviting.withdrawing"],
      events: ["server.progress"],
      why: "it is cancelled: the client shall not hear it ring",
    },
    {
      states: ["inviting.withdrawing", "cancelling", "answered", "established", "terminating", "leaving"],
      events: ["withdraw"],
      why: "given up already, or answered",
    },
    {
      states: ["cancelling", "answered", "established", "terminating", "leaving"],
      events: ["cancel"],
      why: "given up already, or too late: what is answered is ended by BYE",
    },
    {
      states: ["inviting", "cancelling", "established", "terminating", "leaving"],
      events: ["client.ack"],
      why: "no 2xx of this session waits for its ACK; in `terminating` and `leaving` it was acknowledged by the relay",
    },
    {
      states: ["cancelling", "established", "terminating", "leaving"],
      events: ["client.silent"],
      why: "nothing of this session waits for ACK or PRACK, or its end is under way",
    },
    {
      states: ["inviting", "cancelling"],
      events: ["lost", "end"],
      why: "there is no session yet: the INVITE's own timers and the client's request decide",
    },
    {
      states: ["terminating", "leaving"],
      events: ["lost", "end"],
      why: "it ends already, and the BYE's own timers bound that",
    },
    {
      states: ["inviting", "cancelling"],
      events: ["credit.held", "credit.exhausted"],
      why: "the clock does not run: no money is used up",
    },
    {
      states: ["terminating", "leaving"],
      events: ["credit.held", "credit.exhausted"],
      why: "it ends already; what it cost beyond its hold is settled with its end",
    },
    {
      states: ["inviting", "cancelling", "answered", "established"],
      events: ["bye.answered", "bye.failed", "bye.late"],
      why: "no BYE of the relay's is under way",
    },
    {
      states: [
        "inviting.proceeding.steady",
        "inviting.withdrawing",
        "cancelling",
        "answered",
        "established.steady",
        "terminating",
        "leaving",
      ],
      events: ["change.done"],
      why: "no change is under way, or it was given up with the session",
    },
    {
      states: [
        "inviting",
        "cancelling",
        "answered",
        "established.steady",
        "established.changing",
        "established.refreshing",
        "terminating",
        "leaving",
      ],
      events: ["change.taken"],
      why: "no other service is asked for; where the session ends meanwhile, the part that was asked for is ended too",
    },
    {
      states: [
        "inviting",
        "cancelling",
        "answered",
        "established.changing",
        "established.refreshing",
        "established.asking",
        "terminating",
        "leaving",
      ],
      events: ["refresh.due"],
      why: "the session is not established, or something is under way: it is tried again in some seconds (RFC 4028 §10)",
    },
    {
      states: ["inviting", "cancelling", "established", "terminating", "leaving"],
      events: ["client.refused"],
      why: "no INVITE of the relay's to the client is under way (M23)",
    },
  ],
  transfer: [
    {
      states: ["asking", "inviting"],
      events: ["refer.allowed", "refer.refused"],
      why: "the REFER is looked at once, before anything else",
    },
    {
      states: ["checking"],
      events: ["target.progress", "target.answer", "target.failure"],
      why: "no app server has been asked",
    },
    {
      states: ["inviting"],
      events: ["target.progress", "target.answer", "target.failure"],
      why: "the second app server's answer is there, and one answer ends the asking",
    },
    {
      states: ["checking", "asking"],
      events: ["target.lost", "client.accepted", "client.refused"],
      why: "there is no second session yet that could end, and the client was not invited",
    },
    {
      states: ["checking"],
      events: ["client.left"],
      why: "it passes through this state at once, while the REFER is taken",
    },
    {
      states: ["inviting"],
      events: ["client.left"],
      why: "the client may hang up the first session because it takes the second (RFC 3891 §3); it refuses the INVITE if it does not",
    },
  ],
  billing: [
    {
      states: ["running", "chargeable", "closed"],
      events: ["session.started"],
      why: "events may come twice and out of order; the start is known by now",
    },
    {
      states: ["chargeable", "closed"],
      events: ["session.ended"],
      why: "events may come twice; the time was entered",
    },
    {
      states: ["open", "running", "closed"],
      events: ["window.closed"],
      why: "no time for late charges runs",
    },
  ],
};
