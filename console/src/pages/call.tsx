import charts from "charts:all";
import { useEffect, useRef } from "preact/hooks";
import { send } from "../api.ts";
import { actorsAt, type CallDetail, heldAt, type Item, lanesOf, wordsOf } from "../call-model.ts";
import { ActorChart } from "../chart.tsx";
import { after, dayAndTime, duration } from "../format.ts";
import { Ladder } from "../ladder.tsx";
import { address, route, setQuery } from "../router.ts";
import { Act, Notice } from "../ui.tsx";
import { useCall } from "../use-call.ts";
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
        <b>{present ? `${after(present.at - start)} s` : "0"}</b>
        <span class="of">{follows ? "● live" : `${position} of ${items.length}`}</span>
        {words}
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
