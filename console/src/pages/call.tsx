import charts from "charts:all";
import { useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { get, listen, returns, send } from "../api.ts";
import {
  actorsAt,
  type CallDetail,
  heldAt,
  type Item,
  inOrder,
  itemIn,
  itemsOf,
  lanesOf,
  wordsOf,
} from "../call-model.ts";
import { ActorChart } from "../chart.tsx";
import { after, dayAndTime, duration } from "../format.ts";
import { Ladder } from "../ladder.tsx";
import { address, route, setQuery } from "../router.ts";
import { Act, Notice, textOf } from "../ui.tsx";
import { BillTable } from "./bill-table.tsx";

/** One call: its charts, its ladder, its charges, and a time line that moves all of it. */
export default function Call() {
  const { id } = route.value;
  const { details, items, error, isLive, lack } = useCall(id);
  const asked = route.value.query.get("at");
  const position = asked === null ? items.length : Math.max(0, Math.min(items.length, Number(asked) || 0));
  // At the end without `at`, the page follows a call that runs; with it, it stays where it is.
  const stopAt = (to: number) => setQuery({ at: String(Math.max(0, to)) });
  const go = (to: number) => (to >= items.length ? setQuery({ at: undefined }) : stopAt(to));
  if (error) return <Missing id={id} error={error} />;
  const [first] = details;
  if (!first)
    return (
      <>
        <h1>Call</h1>
        <Notice>The relay is asked for this call.</Notice>
      </>
    );
  const start = Math.min(items[0]?.at ?? first.at, first.at);
  const actors = actorsAt(items, position);
  const present = items[position - 1];
  const latest = actors.find(({ isLatest }) => isLatest)?.actor;
  return (
    <>
      <Head call={first} all={details} isLive={isLive} />
      {lack && <Notice>{lack}</Notice>}
      <TimeLine
        items={items}
        position={position}
        go={go}
        stop={() => stopAt(position)}
        start={start}
        isLive={isLive}
        follows={isLive && asked === null}
      />
      <p class="hidden" role="status" aria-live="polite">
        {present ? wordsOf(present) : ""}
      </p>
      <div class="call">
        <Following class="charts" label="Charts of this call" follows={`${latest} ${position}`}>
          <h2>Charts</h2>
          {actors.length === 0 && <p class="empty">No chart has begun yet.</p>}
          {actors.slice(0, MOST_ACTORS).map((one) => {
            const chart = charts.find(({ name }) => name === one.chart);
            if (!chart) return null;
            const title = one.chart === "request" ? "request" : `${one.chart} ${serverOf(details, one.actor)}`;
            return (
              <ActorChart
                key={`${one.chart} ${one.actor}`}
                chart={chart}
                state={one.state}
                last={one.last}
                title={title}
                isLatest={one.isLatest}
              />
            );
          })}
          {actors.length > MOST_ACTORS && <p>{actors.length - MOST_ACTORS} more are in the table.</p>}
          <ActorTable actors={actors} />
        </Following>
        <Ladder items={items} lanes={lanesOf(items)} position={position} go={stopAt} start={start} />
        <section class="money" aria-label="Bill">
          <h2>Bill</h2>
          <Charges items={items.slice(0, position)} start={start} />
          <BillTable
            lines={details.flatMap(({ charges = [] }) => charges)}
            moment={position === items.length ? undefined : (present?.at ?? 0)}
          />
        </section>
      </div>
    </>
  );
}

const MOST_ACTORS = 9;
/** After so long, what was charged is on the bill, as a rule. */
const BILLED_MS = 1_000;
const AFTER_END_MS = [300, 1_000, 3_000, 8_000, 20_000];

/** A part of the page with a scroll bar of its own, in which the chart that has just moved is in sight. */
function Following(props: {
  readonly class: string;
  readonly label: string;
  readonly follows: string;
  readonly children: preact.ComponentChildren;
}) {
  const box = useRef<HTMLElement>(null);
  useEffect(() => {
    const scroller = box.current;
    const moved = scroller?.querySelector("figure:has(.latest)");
    if (!scroller || !moved) return;
    const [inner, outer] = [moved.getBoundingClientRect(), scroller.getBoundingClientRect()];
    if (inner.bottom > outer.bottom || inner.top < outer.top) scroller.scrollTop += inner.top - outer.top;
  }, [props.follows]);
  return (
    <section ref={box} class={props.class} aria-label={props.label} tabIndex={0}>
      {props.children}
    </section>
  );
}

function serverOf(details: readonly CallDetail[], session: string): string {
  const all = details.flatMap(({ asked = [] }) => asked);
  return all.find((one) => one.session === session)?.appServer ?? "";
}

/** A call and all that was seen of it, live as long as it runs. */
function useCall(id: string): {
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

function Missing({ id, error }: { readonly id: string; readonly error: string }) {
  return (
    <>
      <h1>Call</h1>
      <Notice bad>
        {id}: {error}
      </Notice>
      <p>
        <a href={address("calls")}>All calls</a>
      </p>
    </>
  );
}

function Head({
  call,
  all,
  isLive,
}: {
  readonly call: CallDetail;
  readonly all: readonly CallDetail[];
  readonly isLive: boolean;
}) {
  const sessions = all
    .flatMap(({ asked = [], running }) => (running ? asked : []))
    .filter(({ endedBy }) => endedBy === undefined);
  const cost = all
    .map(({ cost }) => cost)
    .filter(Boolean)
    .join(" + ");
  return (
    <header class="call-head">
      <div class="bar">
        <h1>
          <span class="hidden">Call </span>
          {call.user ?? "a stranger"} → {call.service ?? call.uri}
        </h1>
        <span class={isLive ? "badge live" : call.failed ? "badge failed" : "badge"}>
          {isLive ? "● running" : call.failed ? "✕ failed" : "over"}
        </span>
        {isLive &&
          sessions.map(({ session, appServer }) => (
            <Act
              key={session}
              right="operate"
              sure={`End the session with ${appServer}`}
              act={() => send("DELETE", `sessions/${encodeURIComponent(session)}`)}
            >
              {`End ${appServer}`}
            </Act>
          ))}
      </div>
      <dl class="facts">
        <Fact name="Began">{dayAndTime(call.at)}</Fact>
        <Fact name="Answer">{call.status === undefined ? "none yet" : `${call.status} ${call.reason ?? ""}`}</Fact>
        {call.answerMs !== undefined && <Fact name="After">{duration(call.answerMs)}</Fact>}
        {!call.running && <Fact name="Lasted">{duration(call.wholeMs)}</Fact>}
        {call.endedBy && <Fact name="Ended by">{call.endedBy}</Fact>}
        {cost && <Fact name="Cost">{cost}</Fact>}
        {call.why && <Fact name="Why">{call.why}</Fact>}
        <Fact name="From">{call.source}</Fact>
        <Fact name="Call-ID">
          <code>{call.callId}</code>
        </Fact>
        <Fact name="Record">
          <code>{call.id}</code>
        </Fact>
      </dl>
    </header>
  );
}

function Fact({ name, children }: { readonly name: string; readonly children: preact.ComponentChildren }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd>{children}</dd>
    </div>
  );
}

/** Moves everything on the page to a moment of the call. Its steps are what happened, so idle time takes no room. */
function TimeLine(props: {
  readonly items: readonly Item[];
  readonly position: number;
  readonly go: (position: number) => void;
  readonly stop: () => void;
  readonly start: number;
  readonly isLive: boolean;
  /** It moves on with the call. */
  readonly follows: boolean;
}) {
  const { items, position, go, stop, start, isLive, follows } = props;
  const isAtEnd = position >= items.length;
  const present = items[position - 1];
  const words = present ? wordsOf(present) : "before the first message";
  return (
    <div class="timeline" role="group" aria-label="Time line">
      <div class="steps">
        <Step name="To the beginning" sign="|◀" act={() => go(0)} isOff={position === 0} />
        <Step name="One step back" sign="◀" act={() => go(position - 1)} isOff={position === 0} />
        <Step name="One step on" sign="▶" act={() => go(position + 1)} isOff={isAtEnd} />
        {follows ? (
          <Step name="Stop here" sign="■" act={stop} isOff={false} />
        ) : (
          <Step
            name={isLive ? "Follow the call" : "To the end"}
            sign="▶|"
            act={() => go(items.length)}
            isOff={isAtEnd && !isLive}
          />
        )}
      </div>
      <div class="track">
        <input
          type="range"
          min={0}
          max={items.length}
          value={position}
          aria-label="Moment of the call"
          aria-valuetext={words}
          onInput={(event) => go(Number(event.currentTarget.value))}
        />
        <div class="ticks" aria-hidden="true">
          {items.map((item, i) => (
            <i key={i} class={`${item.kind}${item.kind === "message" && item.error ? " error" : ""}`} />
          ))}
        </div>
      </div>
      <output>
        <b>{present ? `${after(present.at - start)} s` : "0"}</b> {words}
        <span class="of">{follows ? "● live" : `${position} of ${items.length}`}</span>
      </output>
    </div>
  );
}

/** A button that keeps the focus when it has nothing more to do: whoever steps by keyboard stays where they are. */
function Step(props: {
  readonly name: string;
  readonly sign: string;
  readonly act: () => void;
  readonly isOff: boolean;
}) {
  const { name, sign, act, isOff } = props;
  return (
    <button type="button" aria-label={name} title={name} aria-disabled={isOff} onClick={() => !isOff && act()}>
      {sign}
    </button>
  );
}

function ActorTable({ actors }: { readonly actors: ReturnType<typeof actorsAt> }) {
  return (
    <details class="twin">
      <summary>The charts as a table</summary>
      <div class="scroll" tabIndex={0} role="region" aria-label="Charts of this call as a table">
        <table>
          <thead>
            <tr>
              <th scope="col">Chart</th>
              <th scope="col">Actor</th>
              <th scope="col">Present state</th>
              <th scope="col">Last transition</th>
            </tr>
          </thead>
          <tbody>
            {actors.map(({ chart, actor, state, last }) => (
              <tr key={`${chart} ${actor}`}>
                <td>{chart}</td>
                <td>
                  <code>{actor}</code>
                </td>
                <td>{state}</td>
                <td>{last ? `${last.event || "at once"}, from ${last.from}` : ""}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </details>
  );
}

/** What was put on record so far: starts, charges, holds, ends; and timers that fired. */
function Charges({ items, start }: { readonly items: readonly Item[]; readonly start: number }) {
  const told = items.filter((item) => item.kind === "charge" || item.kind === "timer");
  if (told.length === 0) return <p class="empty">Nothing is charged yet.</p>;
  return (
    <>
      <Holds items={items} />
      <Told told={told} start={start} />
    </>
  );
}

/** What is held of a prepaid balance at this moment, for each session that runs. */
function Holds({ items }: { readonly items: readonly Item[] }) {
  const holds = heldAt(items);
  if (holds.length === 0) return null;
  return (
    <dl class="figures" aria-label="Held of the balance">
      {holds.map(({ session, amount }) => (
        <div key={session}>
          <dt>held</dt>
          <dd>{amount}</dd>
        </div>
      ))}
    </dl>
  );
}

function Told({ told, start }: { readonly told: readonly Item[]; readonly start: number }) {
  return (
    <ol class="charges">
      {told.map((item, i) => (
        <li key={i}>
          <span class="when">{after(item.at - start)}</span>
          {item.kind === "charge" ? (
            <span>
              <b>{item.type}</b> {item.text}
            </span>
          ) : (
            <span>
              <b>timer</b> {item.kind === "timer" && item.name}
            </span>
          )}
        </li>
      ))}
    </ol>
  );
}
