import type { Guesses, GuessesElsewhere, GuessesState, UsedUp } from "../directory/guesses.ts";
import type { Clock } from "../support/clock.ts";
import type { NodeRun } from "./beat.ts";
import type { Line, Talk } from "./talk.ts";

/*
 * Failed sign-ins count for all nodes together. Each node tells the others each failure that it counts, and each
 * sign-in that it checked during a wait. So all nodes come to the same lock-outs, some 10 ms later. A node that has
 * come anew asks the others for theirs.
 *
 * A guesser may send guesses to several nodes within these 10 ms, and each node checks one. But their waits come one
 * after the other: after three guesses at once, all three waits have to pass. So over time there are no more guesses
 * than at one node.
 *
 * Passwords, and what credentials were tried, are not told.
 */

const MAX_KEY = 300;

export class SharedLockOuts {
  private readonly talk: Talk;
  private readonly clock: Pick<Clock, "monotonic">;
  private guesses: Guesses | undefined;

  constructor({ talk, clock }: { readonly talk: Talk; readonly clock: Pick<Clock, "monotonic"> }) {
    this.talk = talk;
    this.clock = clock;
    const hear = (kind: string, heard: (guesses: Guesses, line: Line) => void) =>
      talk.on(kind, (line) => {
        if (this.guesses) heard(this.guesses, line);
      });
    hear("failed", (guesses, [, user, source, port, known]) => {
      if (isKey(user) && isKey(source) && isPort(port))
        guesses.failedElsewhere(user, source, this.clock.monotonic(), port, known === 1);
    });
    hear("used", (guesses, [, what, source, user]) => {
      if (!isUsedUp(what) || !isKey(source) || !(user === undefined || isKey(user))) return;
      guesses.usedElsewhere(what, user, source, this.clock.monotonic());
    });
    hear("known", (guesses, [, user, source, port]) => {
      if (isKey(user) && isKey(source) && isPort(port))
        guesses.knownElsewhere(user, source, this.clock.monotonic(), port);
    });
    hear("lift", (guesses, [, ofUser, user, ofSource, source]) => {
      if (!isKey(user) || !isKey(source)) return;
      const which = { ...(ofUser === 1 && { user }), ...(ofSource === 1 && { source }) };
      guesses.liftHere(which, this.clock.monotonic());
    });
    hear("failures", (guesses, line) => {
      const state = readFailures(line);
      if (state) guesses.learn(state, this.clock.monotonic());
    });
    hear("place", (guesses, [, user, source, line, agoMs]) => {
      if (isKey(user) && isKey(source) && isPort(line) && isCount(agoMs))
        guesses.learn({ of: "place", user, source, line, agoMs }, this.clock.monotonic());
    });
  }

  /** Whoever counts failures here tells this. */
  readonly elsewhere: GuessesElsewhere = {
    failed: (user, source, line, known) => this.talk.tell(["failed", user, source, line, known ? 1 : 0]),
    used: (what, user, source) => this.talk.tell(["used", what, source, ...(user === undefined ? [] : [user])]),
    known: (user, source, line) => this.talk.tell(["known", user, source, line]),
    lifted: ({ user, source }) =>
      this.talk.tell(["lift", user === undefined ? 0 : 1, user ?? "", source === undefined ? 0 : 1, source ?? ""]),
  };

  /** From now on failures at other nodes count in `guesses`. */
  attach(guesses: Guesses): void {
    this.guesses = guesses;
  }

  /** The other node gets all that is known here. */
  greet({ node }: NodeRun, wantsAll: boolean): void {
    if (wantsAll && this.guesses) this.talk.stream(node, linesOf(this.guesses.state(this.clock.monotonic())));
  }
}

function* linesOf(states: Iterable<GuessesState>): Generator<Line> {
  for (const state of states) {
    if (state.of === "place") yield ["place", state.user, state.source, state.line, state.agoMs];
    else {
      const { failures, agoMs, waitMs } = state.learnt;
      yield ["failures", state.of, state.key, failures, agoMs, waitMs];
    }
  }
}

function readFailures([, of, key, failures, agoMs, waitMs]: Line): GuessesState | undefined {
  if ((of !== "pair" && of !== "source" && of !== "user") || !isKey(key)) return undefined;
  if (of === "pair" && !key.includes(" ")) return undefined;
  if (!isCount(failures) || !isCount(agoMs) || !isCount(waitMs) || waitMs > MOST_WAIT_MS) return undefined;
  return { of, key, learnt: { failures, agoMs, waitMs } };
}

/** Nobody waits longer, whatever another node says. */
const MOST_WAIT_MS = 7 * 86_400_000;
const isKey = (text: unknown): text is string => typeof text === "string" && text.length <= MAX_KEY;
const isCount = (value: unknown): value is number => Number.isInteger(value) && (value as number) >= 0;
const isPort = (value: unknown): value is number => isCount(value) && value <= 65_535;
const isUsedUp = (what: unknown): what is UsedUp => what === "spare" || what === "ownSpare" || what === "look";
