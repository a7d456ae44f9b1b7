import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { get, listen, returns } from "./api.ts";
import { type CallDetail, type Item, inOrder, itemIn, itemsOf } from "./call-model.ts";
import { duration } from "./format.ts";
import { textOf } from "./ui.tsx";

/** After so long, what was charged is on the bill, as a rule. */
const BILLED_MS = 1_000;
const AFTER_END_MS = [300, 1_000, 3_000, 8_000, 20_000];

/** A call and all that was seen of it, live as long as it runs. */
export function useCall(id: string): {
  readonly details: readonly CallDetail[];
  readonly items: readonly Item[];
  readonly error: string;
  readonly isLive: boolean;
  /** What is not there any more; "": nothing. */
  readonly lack: string;
} {
  const lack = useSignal("");
  const details = useSignal<readonly CallDetail[]>([]);
  const items = useSignal<readonly Item[]>([]);
  const error = useSignal("");
  const isLive = useSignal(false);
  const round = useSignal(0);
  // A call that could not be read is read when the relay answers again.
  useEffect(() => {
    if (error.value !== "") round.value++;
  }, [returns.value]);
  useEffect(() => {
    let over = false;
    let stop = () => {};
    const timers: ReturnType<typeof setTimeout>[] = [];
    details.value = [];
    items.value = [];
    error.value = "";
    isLive.value = false;
    lack.value = "";
    const readDetails = async () => {
      const { calls } = await get<{ calls: readonly CallDetail[] }>(`calls/${encodeURIComponent(id)}`);
      if (!over) details.value = calls;
      return calls;
    };
    let heard: Item[] = [];
    /** What is known of the time before the first of these: a process that takes a call up has not seen it. */
    let before: readonly Item[] = [];
    const whole = (told: readonly Item[]) => {
      const first = told.reduce((least, { at }) => Math.min(least, at), Number.POSITIVE_INFINITY);
      return inOrder([...before.filter(({ at, kind }) => at < first && kind !== "end"), ...told]);
    };
    const readStory = async (calls: readonly CallDetail[], isWanted = () => true) => {
      const stories = await Promise.all(calls.map(storyOf));
      if (over) return;
      before = heard.length > 0 ? heard : calls.flatMap(itemsOf);
      if (!isWanted()) return;
      items.value = whole(stories.flatMap((one) => one.items));
      lack.value = stories.find((one) => one.lack !== "")?.lack ?? "";
    };
    let isBillDue = false;
    /** Billing takes a moment; and many charges need not be asked for one by one. */
    const billSoon = () => {
      if (isBillDue) return;
      isBillDue = true;
      const read = () => {
        isBillDue = false;
        if (!over) void readDetails().catch(() => {});
      };
      timers.push(setTimeout(read, BILLED_MS));
    };
    const follow = (calls: readonly CallDetail[]) => {
      isLive.value = true;
      let isDue = false;
      // With the next thing that happens, all that came before it comes again.
      void readStory(calls, () => heard.length === 0);
      const show = () => {
        isDue = false;
        items.value = whole(heard);
      };
      stop = listen(
        "events",
        { callId: calls.find(({ running }) => running)!.callId, full: 1 },
        ({ event, data }) => {
          // What happened meanwhile was not heard; perhaps the call is over.
          if (event === "gap") void finish(false);
          const item = itemIn(event, data);
          if (!item) return;
          heard.push(item);
          if (!isDue) {
            isDue = true;
            requestAnimationFrame(show);
          }
          if (event === "charge" || (item.kind === "state" && item.chart === "billing")) billSoon();
          if (event === "end")
            timers.push(...AFTER_END_MS.map((ms, i) => setTimeout(finish, ms, i === AFTER_END_MS.length - 1)));
        },
        () => {
          heard = [];
        },
      );
    };
    /** A call is over: its record and what is billed come a moment later, or more, where there is much to do. */
    const finish = async (isLast: boolean) => {
      if (over) return;
      const calls = await readDetails().catch(() => undefined);
      const isKnown = calls?.every(({ running }) => !running) === true;
      if (over || !(isKnown || isLast)) return;
      stop();
      isLive.value = false;
      // Where its record is not to be had, what was seen of it stays.
      if (calls && isKnown) await readStory(calls).catch(() => {});
    };
    const begin = async (tries: number): Promise<void> => {
      try {
        const calls = await readDetails();
        if (over) return;
        if (calls.some(({ running }) => running)) follow(calls);
        else await readStory(calls);
      } catch (fault) {
        if (over) return;
        // A call that was just placed may not be on record yet.
        if (tries > 0) timers.push(setTimeout(() => void begin(tries - 1), 300));
        else error.value = textOf(fault);
      }
    };
    void begin(3);
    return () => {
      over = true;
      stop();
      for (const timer of timers) clearTimeout(timer);
    };
  }, [id, round.value]);
  return { details: details.value, items: items.value, error: error.value, isLive: isLive.value, lack: lack.value };
}

/** A story that begins so long after its call was begun by another process. */
const TAKEN_UP_MS = 1_000;

interface Told {
  readonly items: readonly Item[];
  readonly lack: string;
}

/** All that was seen, where the relay still has it; else what the record says. */
async function storyOf(call: CallDetail): Promise<Told> {
  try {
    const path = `calls/${encodeURIComponent(call.id)}/story`;
    const { items, leftOut } = await get<{ items: readonly { kind: string }[]; leftOut: number }>(path);
    const told = items.flatMap((line) => itemIn(line.kind, line) ?? []);
    const isWhole = told.length === 0 || told[0]!.at - call.at < TAKEN_UP_MS;
    const lack = [
      leftOut > 0 && `${leftOut} things in the middle of this call are not kept: it was a long one.`,
      !isWhole &&
        `Of the first ${duration(told[0]!.at - call.at)} no more is left than its record has: the relay was started anew then, or another node took the call up.`,
    ];
    return { items: told, lack: lack.filter(Boolean).join(" ") };
  } catch {
    const lack =
      "Whole messages of this call are not kept any more: this is what its record says. Calls that a trace records are kept whole (tollgate trace start).";
    return { items: itemsOf(call), lack };
  }
}
