import charts from "charts:all";
import { may } from "../api.ts";
import { ChartPicture } from "../chart.tsx";
import { type Arrow, type ChartData, type ChartState, labelOf } from "../charts-data.ts";
import { count, duration } from "../format.ts";
import { address, route, setQuery } from "../router.ts";
import { Field, useAsked } from "../ui.tsx";

/** What the relay counts while somebody looks at this page. */
interface Counts {
  readonly since: number;
  readonly charts: Readonly<
    Record<
      string,
      {
        /**
         * By the state's path: how many are in it now, how often it was left since, and how long it lasted on average.
         */
        readonly states: Readonly<
          Record<string, { readonly now: number; readonly left: number; readonly meanMs?: number }>
        >;
        /** By the name of the transition. */
        readonly arrows: Readonly<Record<string, number>>;
      }
    >
  >;
}

export default function Charts() {
  const { id, query } = route.value;
  const chart = charts.find(({ name }) => name === id) ?? charts[1]!;
  const words = (query.get("q") ?? "").trim().toLowerCase();
  const chosen = query.get("state") ?? undefined;
  const { data: counts } = useAsked<Counts>(may("see") ? "charts/counts" : undefined, {}, 2_000);
  const counted = counts?.charts[chart.name];
  const times = new Map<number, number>();
  for (const [name, n] of Object.entries(counted?.arrows ?? {})) {
    const arrow = chart.ids[name];
    if (arrow !== undefined) times.set(arrow, (times.get(arrow) ?? 0) + n);
  }
  const lit = new Map<string, number | undefined>();
  for (const [path, { now }] of Object.entries(counted?.states ?? {})) if (now > 0) lit.set(path, now);
  const hits = charts.flatMap((one) => hitsIn(one, words).map((path) => ({ one, path })));
  const state = chart.states.find(({ path }) => path === chosen);
  return (
    <>
      <div class="bar">
        <h1>Charts</h1>
        <nav class="tabs" aria-label="Charts">
          {charts.map(({ name }) => (
            <a
              key={name}
              href={address("charts", name, { q: query.get("q") ?? undefined })}
              aria-current={name === chart.name ? "page" : undefined}
            >
              {name}
            </a>
          ))}
        </nav>
        <form role="search" class="search" onSubmit={(event) => event.preventDefault()}>
          <Field
            label="Find a state, event, action, RFC or requirement"
            value={query.get("q") ?? ""}
            type="search"
            change={(q) => setQuery({ q, state: undefined })}
            hint="bye, M12, 3261"
          />
        </form>
      </div>
      {words !== "" && (
        <p class="hits" role="status">
          {hits.length === 0 ? "Nothing has that word. " : `${hits.length} ${hits.length === 1 ? "state" : "states"}: `}
          {hits.map(({ one, path }) => (
            <a
              key={one.name + path}
              href={address("charts", one.name, { q: query.get("q") ?? undefined, state: path })}
            >
              {one.name} · {path}
            </a>
          ))}
        </p>
      )}
      <p class="about">{chart.about}</p>
      <div class="split">
        <div class="canvas" tabIndex={0} role="region" aria-label={`Picture of the chart ${chart.name}`}>
          <ChartPicture
            chart={chart}
            size="full"
            lit={lit}
            times={times}
            label={`The chart ${chart.name}: ${chart.states.length} states; the tables below say the same`}
            found={(one) => words !== "" && stateHas(chart, one, words)}
            foundArrow={(i) => words !== "" && labelOf(chart.arrows[i]!).toLowerCase().includes(words)}
            {...(chosen !== undefined && { chosen })}
            choose={(path) => setQuery({ state: path === chosen ? undefined : path })}
          />
        </div>
        <aside class="panel" aria-live="polite">
          {state ? (
            <StatePanel chart={chart} state={state} counted={counted?.states[state.path]} />
          ) : (
            <Legend hasCounts={counted !== undefined} />
          )}
        </aside>
      </div>
      <Tables chart={chart} counted={counted} times={times} />
    </>
  );
}

function Legend({ hasCounts }: { readonly hasCounts: boolean }) {
  return (
    <>
      <h2>A state</h2>
      <p>Choose a state to see what it is, its source, its RFC section, and a test that shows it.</p>
      <p>
        {hasCounts
          ? "● and a number: so many calls are in it now. ×: how often an arrow was taken since somebody opened this page."
          : "How many calls are in a state is shown to those who may see calls."}
      </p>
    </>
  );
}

const REPOSITORY_TEST = (chart: string) => `test/machines/${chart}.test.ts`;

function StatePanel(props: {
  readonly chart: ChartData;
  readonly state: ChartState;
  readonly counted: { readonly now: number; readonly left: number; readonly meanMs?: number } | undefined;
}) {
  const { chart, state, counted } = props;
  // An inner state's arrows come before those that it shares with others.
  const own = Object.entries(chart.ids).flatMap(([id, arrow]) =>
    id.startsWith(`${state.path} `) ? chart.arrows[arrow]! : [],
  );
  const out = state.kind === "compound" ? chart.arrows.filter(({ from }) => from === state.path) : own;
  return (
    <>
      <h2>{state.path}</h2>
      {state.is && <p>{state.is}</p>}
      <dl>
        {counted && (
          <>
            <dt>Now</dt>
            <dd>
              {count(counted.now)} here
              {counted.left > 0 && `, left ${count(counted.left)} times after ${duration(counted.meanMs)} on average`}
            </dd>
          </>
        )}
        {state.requirements && (
          <>
            <dt>Requirement</dt>
            <dd>{state.requirements.join(", ")}</dd>
          </>
        )}
        {state.rfc && (
          <>
            <dt>RFC</dt>
            <dd>
              {state.rfc.map((one) => (
                <a key={one} href={rfcUrl(one)} rel="noreferrer">
                  {one}
                </a>
              ))}
            </dd>
          </>
        )}
        {state.test && (
          <>
            <dt>Test</dt>
            <dd>
              {state.test} <code>{REPOSITORY_TEST(chart.name)}</code>
            </dd>
          </>
        )}
        {state.work && (
          <>
            <dt>Does its work</dt>
            <dd>
              <code>{state.work}</code>
            </dd>
          </>
        )}
        {state.entry.length > 0 && (
          <>
            <dt>On entry</dt>
            <dd>{state.entry.join(", ")}</dd>
          </>
        )}
      </dl>
      <h3>It takes</h3>
      <ul class="takes">
        {out.map((arrow) => (
          <li key={arrowKey(arrow)}>
            <b>{labelOf(arrow)}</b> {arrow.to ? `→ ${arrow.to}` : "stays"}
            {arrow.actions.length > 0 && <small> {arrow.actions.join(", ")}</small>}
          </li>
        ))}
      </ul>
      {state.lines && (
        <>
          <h3>
            <code>
              {chart.file}:{state.lines[0]}
            </code>
          </h3>
          <pre class="source" tabIndex={0} role="region" aria-label={`Source of ${state.path}`}>
            {sourceOf(chart, state.lines)}
          </pre>
        </>
      )}
    </>
  );
}

function sourceOf({ source, sourceFrom }: ChartData, [from, to]: readonly [number, number]): string {
  const lines = source.slice(from - sourceFrom, to - sourceFrom + 1);
  const indent = Math.min(...lines.filter((line) => line.trim() !== "").map((line) => line.search(/\S/)));
  return lines.map((line) => line.slice(indent)).join("\n");
}

const arrowKey = (arrow: Arrow) => `${arrow.from} ${labelOf(arrow)} ${arrow.to} ${arrow.actions}`;

function rfcUrl(section: string): string {
  const [number, at] = section.split(" §");
  return `https://www.rfc-editor.org/rfc/rfc${number}${at ? `#section-${at}` : ""}`;
}

/** Whether an arrow, or what is said of a state, has these words. */
function stateHas(chart: ChartData, state: ChartState, words: string): boolean {
  const own = chart.arrows.filter(({ from }) => from === state.path);
  const all = [
    state.path,
    state.is,
    state.test,
    state.work,
    ...(state.rfc ?? []),
    ...(state.requirements ?? []),
    ...state.entry,
    ...own.flatMap((arrow) => [labelOf(arrow), ...arrow.actions]),
  ];
  return all.some((text) => text?.toLowerCase().includes(words));
}

const hitsIn = (chart: ChartData, words: string): string[] =>
  words === "" ? [] : chart.states.filter((state) => stateHas(chart, state, words)).map(({ path }) => path);

/** The same as tables, for those who do not see the picture. */
function Tables(props: {
  readonly chart: ChartData;
  readonly counted: Counts["charts"][string] | undefined;
  readonly times: ReadonlyMap<number, number>;
}) {
  const { chart, counted, times } = props;
  return (
    <details class="twin">
      <summary>The chart {chart.name} as tables</summary>
      <div class="scroll" tabIndex={0} role="region" aria-label={`Tables of the chart ${chart.name}`}>
        <table>
          <caption>States</caption>
          <thead>
            <tr>
              <th scope="col">State</th>
              <th scope="col">What it is</th>
              <th scope="col">RFC</th>
              <th scope="col" class="number">
                Now
              </th>
            </tr>
          </thead>
          <tbody>
            {chart.states.map((state) => (
              <tr key={state.path}>
                <th scope="row">{state.path}</th>
                <td>{state.is}</td>
                <td>{state.rfc?.join(", ")}</td>
                <td class="number">{counted?.states[state.path]?.now ?? ""}</td>
              </tr>
            ))}
          </tbody>
        </table>
        <table>
          <caption>Arrows</caption>
          <thead>
            <tr>
              <th scope="col">From</th>
              <th scope="col">Event</th>
              <th scope="col">To</th>
              <th scope="col">Does</th>
              <th scope="col" class="number">
                Taken
              </th>
            </tr>
          </thead>
          <tbody>
            {chart.arrows.map((arrow, i) => (
              <tr key={arrowKey(arrow)}>
                <td>{arrow.from || "any state"}</td>
                <td>{labelOf(arrow)}</td>
                <td>{arrow.to ?? "stays"}</td>
                <td>{arrow.actions.join(", ")}</td>
                <td class="number">{times.get(i) ?? ""}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </details>
  );
}
