import { signal, useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { may, send } from "../api.ts";
import { count, duration, time } from "../format.ts";
import { Act, type Column, Notice, Rows, useAsked } from "../ui.tsx";

interface Sample {
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

interface Histogram {
  readonly labels: Readonly<Record<string, string>>;
  readonly buckets: readonly (readonly [le: number, count: number])[];
  readonly sum: number;
  readonly count: number;
}

interface Status {
  readonly version: string;
  readonly node: string;
  readonly now: number;
  readonly draining: boolean;
  /** So many are in the figures. */
  readonly nodes: number;
  readonly missing?: readonly string[];
  readonly counters: Readonly<Record<string, number>>;
  readonly gauges: Readonly<Record<string, number>>;
  readonly labelled?: {
    readonly counters: Readonly<Record<string, readonly Sample[]>>;
    readonly histograms: Readonly<Record<string, readonly Histogram[]>>;
  };
}

interface Point {
  readonly at: number;
  readonly perSecond: number;
  readonly standing: number;
}

const EVERY_MS = 2_000;
/** Half an hour. */
const MOST_POINTS = 900;
/** Kept while the page is open, also while another page is shown. */
const points = signal<readonly Point[]>([]);
let before: { readonly at: number; readonly ended: number; readonly node: string } | undefined;

function note({ now, node, counters, gauges }: Status): void {
  const ended = counters.invites ?? counters.requests ?? 0;
  if (before && now > before.at && ended >= before.ended && node === before.node) {
    const perSecond = ((ended - before.ended) * 1_000) / (now - before.at);
    points.value = [...points.value, { at: now, perSecond, standing: gauges.sessions ?? 0 }].slice(-MOST_POINTS);
  }
  before = { at: now, ended, node };
}

/** Nodes, calls a second, answers, errors, and app servers. */
export default function Network() {
  const { data: status, error } = useAsked<Status>("status", { everywhere: "true" }, EVERY_MS);
  useEffect(() => {
    if (status) note(status);
  }, [status]);
  if (!status)
    return (
      <>
        <h1>Network</h1>
        {error ? <Notice bad>{error}</Notice> : <Notice>The relay is asked.</Notice>}
      </>
    );
  const requests = status.labelled?.counters.requestsEnded ?? [];
  const invites = requests.filter(({ labels }) => labels.kind === "invite");
  const total = sum(invites);
  const answered = sum(invites.filter(({ labels }) => /^2/.test(labels.status ?? "")));
  const answers = status.labelled?.histograms.answerSeconds ?? [];
  const latest = points.value.at(-1);
  return (
    <>
      <div class="bar">
        <h1>Network</h1>
        <span class={status.draining ? "badge failed" : "badge live"}>
          {status.draining ? "✕ draining" : "● in service"}
        </span>
        <span class="dim">
          {status.node ? `node ${status.node}, ` : ""}version {status.version}
          {status.nodes > 1 && `; figures of ${status.nodes} nodes`}
        </span>
      </div>
      {status.missing && <Notice bad>Not in these figures: {status.missing.join(", ")} did not answer.</Notice>}
      <dl class="figures">
        <Figure name="standing" value={count(status.gauges.sessions ?? 0)} />
        <Figure name="calls a second" value={latest ? latest.perSecond.toFixed(1) : "…"} />
        <Figure
          name="answered"
          value={total === 0 ? "–" : `${((answered * 100) / total).toFixed(1)} %`}
          note={`${count(answered)} of ${count(total)} since the start`}
        />
        <Figure name="to the answer, half of them" value={percentile(answers, 0.5)} />
        <Figure name="95 of 100" value={percentile(answers, 0.95)} />
        <Figure name="99 of 100" value={percentile(answers, 0.99)} />
      </dl>
      <Graph />
      <Nodes />
      <AppServers stats={status.labelled?.counters.appServerAnswers ?? []} />
      <Errors requests={requests} answers={status.labelled?.counters.appServerAnswers ?? []} />
    </>
  );
}

const sum = (samples: readonly Sample[]): number => samples.reduce((all, { value }) => all + value, 0);

function Figure({ name, value, note }: { readonly name: string; readonly value: string; readonly note?: string }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd>
        {value}
        {note && <small>{note}</small>}
      </dd>
    </div>
  );
}

/** The upper bound of the bucket in which that share of all answers lies. */
export function percentile(histograms: readonly Histogram[], share: number): string {
  const total = histograms.reduce((all, one) => all + one.count, 0);
  if (total === 0) return "–";
  for (const [i, [bound]] of (histograms[0]?.buckets ?? []).entries()) {
    const below = histograms.reduce((all, one) => all + (one.buckets[i]?.[1] ?? 0), 0);
    if (below >= total * share) return `≤ ${duration(bound * 1_000)}`;
  }
  return `> ${duration((histograms[0]?.buckets.at(-1)?.[0] ?? 0) * 1_000)}`;
}

/** Calls a second and sessions that stand, since this page was opened. */
function Graph() {
  const all = points.value;
  return (
    <section aria-label="Calls over time">
      <h2>Over time</h2>
      <p class="keys" aria-hidden="true">
        <i class="solid" /> calls a second <i class="dashed" /> standing
      </p>
      <LineGraph
        points={all}
        label="Calls a second, and sessions that stand, since this page was opened. The table below has the same."
      />
      <details class="twin">
        <summary>The graph as a table</summary>
        <div class="scroll" tabIndex={0} role="region" aria-label="Calls over time as a table">
          <table>
            <thead>
              <tr>
                <th scope="col">At</th>
                <th scope="col" class="number">
                  Calls a second
                </th>
                <th scope="col" class="number">
                  Standing
                </th>
              </tr>
            </thead>
            <tbody>
              {all
                .slice(-60)
                .reverse()
                .map(({ at, perSecond, standing }) => (
                  <tr key={at}>
                    <td>{time(at)}</td>
                    <td class="number">{perSecond.toFixed(1)}</td>
                    <td class="number">{count(standing)}</td>
                  </tr>
                ))}
            </tbody>
          </table>
        </div>
      </details>
    </section>
  );
}

const HIGH = 180;
/** Room for the numbers at both sides. */
const SIDE = 52;
/** The least time that the graph shows. */
const SPAN_MS = 60_000;

/** Two lines over time, each with a scale of its own: the solid one's on the left, the dashed one's on the right. */
function LineGraph({ points, label }: { readonly points: readonly Point[]; readonly label: string }) {
  const svg = useRef<SVGSVGElement>(null);
  const width = useSignal(1_000);
  // As wide as there is room: a picture that is scaled down has texts that nobody can read.
  useEffect(() => {
    const seen = new ResizeObserver(([entry]) => {
      width.value = Math.max(160, Math.round(entry!.contentRect.width) - 2 * SIDE);
    });
    seen.observe(svg.current!);
    return () => seen.disconnect();
  }, []);
  const wide = width.value;
  const to = points.at(-1)?.at ?? 0;
  const from = Math.min(points[0]?.at ?? 0, to - SPAN_MS);
  const most = (of: (point: Point) => number) => niceAbove(Math.max(0, ...points.map(of)));
  const [mostCalls, mostStanding] = [most(({ perSecond }) => perSecond), most(({ standing }) => standing)];
  const line = (of: (point: Point) => number, high: number) =>
    points
      .map(
        (point) =>
          `${(((point.at - from) * wide) / (to - from)).toFixed(1)},${(HIGH - (of(point) * HIGH) / high).toFixed(1)}`,
      )
      .join(" ");
  return (
    <svg ref={svg} class="graph" viewBox={`${-SIDE} -12 ${wide + 2 * SIDE} ${HIGH + 36}`} role="img" aria-label={label}>
      {[0, 0.5, 1].map((share) => (
        <g key={share}>
          <line x1={0} x2={wide} y1={HIGH - share * HIGH} y2={HIGH - share * HIGH} />
          <text x={-8} y={HIGH - share * HIGH + 4} text-anchor="end">
            {mostCalls * share}
          </text>
          <text x={wide + 8} y={HIGH - share * HIGH + 4}>
            {count(mostStanding * share)}
          </text>
        </g>
      ))}
      {points.length > 1 && (
        <>
          <polyline class="dashed" points={line(({ standing }) => standing, mostStanding)} />
          <polyline points={line(({ perSecond }) => perSecond, mostCalls)} />
          <text x={0} y={HIGH + 20}>
            {time(from)}
          </text>
          <text x={wide} y={HIGH + 20} text-anchor="end">
            {time(to)}
          </text>
        </>
      )}
    </svg>
  );
}

/** A round number that is not below: 2, 4, 10, 20, 40, 100 ... */
export function niceAbove(n: number): number {
  for (let unit = 1; ; unit *= 10) for (const times of [2, 4, 10]) if (times * unit >= n) return times * unit;
}

interface NodeRow {
  readonly node: string;
  readonly state: string;
  readonly self: boolean;
  readonly heardMsAgo: number;
  readonly sessions?: number;
  readonly version?: string;
}

function Nodes() {
  const { data, error, again } = useAsked<{ nodes: readonly NodeRow[] }>("nodes", {}, EVERY_MS);
  const columns: Column<NodeRow>[] = [
    { name: "Node", cell: (row) => (row.self ? <b>{row.node} (this one)</b> : row.node) },
    { name: "State", cell: (row) => `${row.state === "up" || row.state === "alive" ? "●" : "○"}\u00a0${row.state}` },
    { name: "Sessions", cell: (row) => (row.sessions === undefined ? "" : count(row.sessions)), number: true },
    { name: "Heard", cell: (row) => (row.self ? "" : `${duration(row.heardMsAgo)} ago`), number: true },
  ];
  if (may("operate"))
    columns.push({
      name: "Drain",
      cell: (row) => (
        <Act
          right="operate"
          sure="Drain it"
          about={row.node}
          act={() => send("POST", `nodes/${encodeURIComponent(row.node)}/drain`)}
          done={again}
        >
          Drain
        </Act>
      ),
    });
  return (
    <section aria-label="Nodes">
      <h2>Nodes</h2>
      <Rows
        rows={data?.nodes}
        error={error}
        columns={columns}
        idOf={({ node }) => node}
        caption="Nodes of the cluster"
        empty="This relay is alone: no cluster is configured."
      />
    </section>
  );
}

interface ServerRow {
  readonly id: string;
  readonly uri: string;
  readonly services: readonly string[];
  readonly from: string;
  readonly state: string;
  readonly sessions: number;
  readonly restsForMs?: number;
  readonly capacity?: number;
}

const SIGNS: Readonly<Record<string, string>> = { up: "●", down: "✕", resting: "◐", drained: "○" };

function AppServers({ stats }: { readonly stats: readonly Sample[] }) {
  const { data, error, again } = useAsked<{ appServers: readonly ServerRow[] }>("app-servers", {}, EVERY_MS);
  const of = (id: string) => stats.filter(({ labels }) => labels.app_server === id);
  const columns: Column<ServerRow>[] = [
    { name: "App server", cell: (row) => <b>{row.id}</b> },
    {
      name: "State",
      cell: (row) =>
        `${SIGNS[row.state] ?? ""}\u00a0${row.state}${row.restsForMs ? ` for ${duration(row.restsForMs)}` : ""}`,
    },
    { name: "Services", cell: (row) => row.services.join(", ") },
    { name: "URI", cell: (row) => <code>{row.uri}</code> },
    {
      name: "Sessions",
      cell: (row) => `${count(row.sessions)}${row.capacity ? ` of ${count(row.capacity)}` : ""}`,
      number: true,
    },
    {
      name: "Answered",
      cell: (row) => count(sum(of(row.id).filter(({ labels }) => /^2/.test(labels.status ?? "")))),
      number: true,
    },
    {
      name: "Not",
      cell: (row) => count(sum(of(row.id).filter(({ labels }) => !/^2/.test(labels.status ?? "")))),
      number: true,
    },
  ];
  if (may("operate"))
    columns.push({
      name: "Service",
      cell: (row) =>
        row.state === "drained" ? (
          <Act
            right="operate"
            about={row.id}
            act={() => send("POST", `app-servers/${encodeURIComponent(row.id)}/resume`)}
            done={again}
          >
            Set in service
          </Act>
        ) : (
          <Act
            right="operate"
            sure="Take it out"
            about={row.id}
            act={() => send("POST", `app-servers/${encodeURIComponent(row.id)}/drain`)}
            done={again}
          >
            Take out
          </Act>
        ),
    });
  return (
    <section aria-label="App servers">
      <h2>App servers</h2>
      <Rows
        rows={data?.appServers}
        error={error}
        columns={columns}
        idOf={({ id }) => id}
        caption="App servers"
        empty="No app server is registered."
      />
    </section>
  );
}

function Errors({ requests, answers }: { readonly requests: readonly Sample[]; readonly answers: readonly Sample[] }) {
  const only = useSignal(true);
  const isError = ({ labels }: Sample) => !/^2/.test(labels.status ?? "");
  const rows = [
    ...requests.map((one) => ({ who: `to clients, ${one.labels.kind}`, ...one })),
    ...answers.map((one) => ({ who: `by ${one.labels.app_server}`, ...one })),
  ]
    .filter((one) => !only.value || isError(one))
    .sort((a, b) => b.value - a.value);
  return (
    <section aria-label="Answers by status">
      <div class="bar">
        <h2>Answers by status</h2>
        <label class="check">
          <input
            type="checkbox"
            checked={only.value}
            onChange={() => {
              only.value = !only.value;
            }}
          />
          errors only
        </label>
      </div>
      <Rows
        rows={rows}
        columns={[
          { name: "Status", cell: ({ labels }) => (labels.status === "0" ? "none" : labels.status) },
          { name: "Said", cell: ({ who }) => who },
          { name: "Service", cell: ({ labels }) => labels.service || "none" },
          { name: "Times", cell: ({ value }) => count(value), number: true },
        ]}
        idOf={({ who, labels }) => `${who} ${JSON.stringify(labels)}`}
        caption="Answers by status"
        empty={only.value ? "No errors since the start." : "Nothing was answered since the start."}
      />
    </section>
  );
}
