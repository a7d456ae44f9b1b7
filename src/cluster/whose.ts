import type { Bus } from "../bus/types.ts";
import { isNodeName } from "../charging/events/session-ids.ts";
import type { Clock, TimerHandle } from "../support/clock.ts";
import type { Logger } from "../support/log.ts";
import type { PeerLog } from "../support/peer-log.ts";
import type { NodeRun } from "./beat.ts";

/*
 * A node that was stopped, cut off or started anew asks the others which of its sessions they have taken up. A node
 * that was started anew then says which sessions it has itself, so that the others take up only the rest. A node that
 * is to take up what a dead one has left, and was silent itself, asks who else has some of it.
 *
 *   1 <node> <epoch> <number> ask <of> <its epoch>       of: itself, or a dead node
 *   1 <node> <epoch> <number> have <part> <parts>        and a session on each line
 *   1 <by> <its epoch> <number> <deaths> <part> <parts>  and a session on each line; the answer
 */

/** How many sessions one message names. */
const MOST_NAMED = 20_000;
/** A question is repeated after so long, for those who have not answered. */
const AGAIN_MS = 100;
/** It is said in the log when so many questions had no answer. */
const WARN_AT = 20;
/** Most parts of an answer or list. */
const MOST_PARTS = 1_000;

const QUESTION = /^1 ([0-9a-z]{6}) (\d{1,15}) (\d{1,9}) ask ([0-9a-z]{6}) (\d{1,15})$/;
const HAVE = /^1 ([0-9a-z]{6}) (\d{1,15}) (\d{1,9}) have (\d{1,4}) (\d{1,4})$/;
const ANSWER = /^1 ([0-9a-z]{6}) (\d{1,15}) (\d{1,9}) (\d{1,9}) (\d{1,4}) (\d{1,4})$/;
const SESSION = /^[0-9a-z-]{8,100}$/;
const TOPIC = "whose";
const answersTopic = (node: string): string => `whose-${node}`;

/** What one node has answered. */
export interface Answer {
  /** The sessions that it was asked about and has, also such as are over by now. */
  readonly sessions: readonly string[];
  /** How often it has called this run of the asking node dead. It counts anew with each of its own runs. */
  readonly deaths: number;
  readonly run: NodeRun;
}

interface Question {
  readonly number: number;
  readonly answers: Map<string, Answer>;
  readonly parts: Map<string, string[][]>;
  readonly others: () => readonly string[];
  timer: TimerHandle;
  /** Undefined: the answers are of no use any more. */
  done(answers?: Answer[]): void;
}

/** Asks and answers whose sessions are whose. */
export class Whose {
  private readonly self: NodeRun;
  private readonly bus: Pick<Bus, "tell" | "hear">;
  private readonly clock: Clock;
  private readonly log: Logger;
  private readonly peerLog: PeerLog;
  private readonly known: {
    taken(): readonly string[];
    left(run: NodeRun, asker: string): readonly string[];
    deaths(run: NodeRun): number;
    has(run: NodeRun, sessions: ReadonlySet<string>): void;
    cannotSay?(node: string): boolean;
  };
  private readonly lists = new Map<string, string[][]>();
  private readonly questions = new Map<number, Question>();
  private number = 0;
  private deafen: (() => void)[] = [];

  constructor(options: {
    readonly self: NodeRun;
    readonly bus: Pick<Bus, "tell" | "hear">;
    readonly clock: Clock;
    readonly log: Logger;
    readonly peerLog: PeerLog;
    readonly known: {
      /** The sessions that this node has taken up from others, also such as are over by now; and those that it has. */
      taken(): readonly string[];
      /** The sessions of a dead node of which this node has copies; its own ones, if it is that node. */
      left(run: NodeRun, asker: string): readonly string[];
      /** How often this node has called that run of a node dead. */
      deaths(run: NodeRun): number;
      /** A node that was started anew has these sessions of its run before, and no others. */
      has(run: NodeRun, sessions: ReadonlySet<string>): void;
      /** It is not known yet whether this node will take up that one's sessions: it is not answered, and asks again. */
      cannotSay?(node: string): boolean;
    };
  }) {
    const { self, bus, clock, log, peerLog, known } = options;
    this.self = self;
    this.bus = bus;
    this.clock = clock;
    this.log = log;
    this.peerLog = peerLog;
    this.known = known;
  }

  start(): void {
    const { bus } = this;
    const heard = [
      bus.hear?.(TOPIC, (text) => this.heard(text)),
      bus.hear?.(answersTopic(this.self.node), (text) => this.answered(text)),
    ];
    this.deafen = heard.filter((end) => end !== undefined);
  }

  stop(): void {
    for (const end of this.deafen.splice(0)) end();
    for (const question of this.questions.values()) {
      this.clock.clearTimeout(question.timer);
      question.done();
    }
    this.questions.clear();
  }

  /**
   * Asks until each of `others` has answered. They are looked up again each time, since one that is dead answers no
   * more. Resolves to the answers; after `withinMs` to those that there are; and to undefined if this is stopped or
   * `isOff`, since then the answers are of no use. `of`: whose sessions are meant; default: this node's own. `afterMs`:
   * how long to wait first.
   */
  ask(
    others: () => readonly string[],
    options: {
      readonly of?: NodeRun;
      readonly withinMs?: number;
      readonly isOff?: () => boolean;
      readonly afterMs?: number;
    } = {},
  ): Promise<Answer[] | undefined> {
    const { clock, self, questions } = this;
    const { of = self, withinMs = Number.POSITIVE_INFINITY, isOff = () => false, afterMs = 0 } = options;
    const until = clock.monotonic() + afterMs + withinMs;
    const number = ++this.number;
    const text = `1 ${self.node} ${self.epoch} ${number} ask ${of.node} ${of.epoch}`;
    return new Promise((resolve) => {
      const question: Question = {
        number,
        answers: new Map(),
        parts: new Map(),
        others,
        timer: undefined,
        done: resolve,
      };
      questions.set(number, question);
      let asked = 0;
      const again = () => {
        if (questions.get(number) !== question) return;
        if (isOff()) {
          questions.delete(number);
          resolve(undefined);
          return;
        }
        if (this.isComplete(question)) return;
        const overdue = clock.monotonic() >= until;
        if (overdue || ++asked === WARN_AT) {
          const nodes = others().filter((node) => !question.answers.has(node));
          this.log.warn({ nodes }, "cluster: nodes do not say which sessions they have taken up");
        }
        if (overdue) {
          this.settle(question);
          return;
        }
        this.bus.tell?.(TOPIC, text);
        question.timer = clock.setTimeout(again, AGAIN_MS);
      };
      if (afterMs === 0) again();
      else question.timer = clock.setTimeout(again, afterMs);
    });
  }

  /** Says which sessions this node goes on with. The others take up the rest of what its run before had. */
  have(sessions: readonly string[]): void {
    const { node, epoch } = this.self;
    const number = ++this.number;
    for (const part of inParts(sessions, (part, parts) => `1 ${node} ${epoch} ${number} have ${part} ${parts}`))
      this.bus.tell?.(TOPIC, part);
  }

  private isComplete(question: Question): boolean {
    if (!question.others().every((node) => question.answers.has(node))) return false;
    this.settle(question);
    return true;
  }

  private settle(question: Question): void {
    this.clock.clearTimeout(question.timer);
    this.questions.delete(question.number);
    question.done([...question.answers.values()]);
  }

  private heard(text: string): void {
    const lines = text.split("\n");
    const asked = QUESTION.exec(lines[0]!);
    if (asked) {
      const [, node, epoch, number, of, ofEpoch] = asked;
      if (node === this.self.node) return;
      const about = { node: of!, epoch: Number(ofEpoch) };
      this.answer({ node: node!, epoch: Number(epoch) }, number!, about);
      return;
    }
    const have = HAVE.exec(lines[0]!);
    if (!have) {
      this.peerLog.warn("cluster: a question that cannot be read", "", { text: lines[0]!.slice(0, 100) });
      return;
    }
    const [, node, epoch, number, part, parts] = have;
    if (node === this.self.node) return;
    const key = `${node} ${epoch} ${number}`;
    const list = gathered(this.lists, key, Number(part), Number(parts), lines.slice(1));
    if (this.lists.size > 256) this.lists.clear(); // none of this version leaves as many unfinished
    if (!list) return;
    this.lists.delete(key);
    this.known.has({ node: node!, epoch: Number(epoch) }, new Set(list));
  }

  private answer(asker: NodeRun, number: string, about: NodeRun): void {
    const { self, known } = this;
    if (known.cannotSay?.(asker.node)) return;
    const deaths = known.deaths(asker);
    const head = (part: number, parts: number) => `1 ${self.node} ${self.epoch} ${number} ${deaths} ${part} ${parts}`;
    const taken = known.taken();
    const all = about.node === asker.node ? taken : [...taken, ...known.left(about, asker.node)];
    for (const part of inParts(all, head)) this.bus.tell?.(answersTopic(asker.node), part);
  }

  private answered(text: string): void {
    const lines = text.split("\n");
    const found = ANSWER.exec(lines[0]!);
    const question = found && this.questions.get(Number(found[3]));
    if (!found || !question) return;
    const [, node, epoch, , deaths, part, parts] = found;
    const sessions = gathered(question.parts, node!, Number(part), Number(parts), lines.slice(1));
    if (!sessions || !isNodeName(node!)) return;
    question.answers.set(node!, { sessions, deaths: Number(deaths), run: { node: node!, epoch: Number(epoch) } });
    this.isComplete(question);
  }
}

function inParts(sessions: readonly string[], head: (part: number, parts: number) => string): string[] {
  const parts = Math.max(1, Math.ceil(sessions.length / MOST_NAMED));
  return Array.from({ length: parts }, (_, part) =>
    [head(part + 1, parts), ...sessions.slice(part * MOST_NAMED, (part + 1) * MOST_NAMED)].join("\n"),
  );
}

/** Adds a part of a list. Returns the whole when all parts are there. Lines that name no session are left out. */
function gathered(
  all: Map<string, string[][]>,
  key: string,
  part: number,
  parts: number,
  lines: readonly string[],
): string[] | undefined {
  if (part < 1 || part > parts || parts > MOST_PARTS) return undefined;
  const list = all.get(key) ?? [];
  all.set(key, list);
  list[part - 1] = lines.filter((line) => SESSION.test(line));
  for (let i = 0; i < parts; i++) if (!list[i]) return undefined;
  return list.flat();
}
