import type { ComponentChildren } from "preact";
import { arrowIn, type ChartData, type ChartState, labelOf } from "./charts-data.ts";

const LINE = 15;

/** A chart as a picture, with the present states lit. States can be chosen by mouse and keyboard. */
export function ChartPicture(props: {
  readonly chart: ChartData;
  /** Innermost states that are lit, with how many are in them where that is known. */
  readonly lit?: ReadonlyMap<string, number | undefined>;
  /** The arrow just taken. */
  readonly taken?: number | undefined;
  readonly size: "full" | "small";
  readonly label: string;
  readonly found?: (state: ChartState) => boolean;
  readonly foundArrow?: (arrow: number) => boolean;
  readonly chosen?: string;
  readonly choose?: (path: string) => void;
  /** How often each arrow was taken. */
  readonly times?: ReadonlyMap<number, number>;
}) {
  const { chart, lit, taken, size, label, found, foundArrow, chosen, choose, times } = props;
  const drawing = chart[size];
  const isLit = (path: string) => [...(lit?.keys() ?? [])].some((one) => one === path || one.startsWith(`${path}.`));
  const tip = `tip-${chart.name}`;
  return (
    <svg
      class={`chart ${size}`}
      viewBox={`-4 -4 ${drawing.width + 8} ${drawing.height + 8}`}
      style={{
        maxWidth: `${drawing.width + 8}px`,
        minWidth: size === "full" ? `${Math.min(drawing.width, 900)}px` : undefined,
      }}
      role="group"
      aria-label={label}
    >
      <defs>
        {["", "-on"].map((on) => (
          <marker
            key={on}
            id={tip + on}
            class={`tip${on}`}
            viewBox="0 0 8 8"
            refX="7"
            refY="4"
            markerWidth="8"
            markerHeight="8"
            markerUnits="userSpaceOnUse"
            orient="auto"
          >
            <path d="M0 0.5L7.5 4L0 7.5z" />
          </marker>
        ))}
      </defs>
      {chart.states
        .filter(({ kind }) => kind === "compound")
        .map((state) => (
          <StateBox
            key={state.path}
            {...{ state, chosen, choose }}
            box={drawing.boxes[state.path]!}
            lit={isLit(state.path)}
            found={found?.(state)}
            inside={undefined}
          />
        ))}
      {drawing.starts.map(({ dot: [x, y, width], path }) => (
        <g key={path} class="start">
          <circle cx={x + width / 2} cy={y + width / 2} r={width / 2} />
          <path class="edge" d={path} marker-end={`url(#${tip})`} />
        </g>
      ))}
      {drawing.edges.map((edge) => {
        const on = taken !== undefined && edge.arrows.includes(taken);
        return (
          <g key={edge.path} class={on ? "way on" : "way"}>
            <path class="edge" d={edge.path} marker-end={`url(#${tip}${on ? "-on" : ""})`} />
            {edge.label &&
              edge.arrows.map((i, n) => (
                <text
                  key={i}
                  x={edge.label![0] + 4}
                  y={edge.label![1] + 12 + n * LINE}
                  class={i === taken ? "name on" : foundArrow?.(i) ? "name found" : "name"}
                >
                  {labelOf(chart.arrows[i]!)}
                  {times?.get(i) ? <tspan class="times"> ×{times.get(i)}</tspan> : null}
                </text>
              ))}
          </g>
        );
      })}
      {chart.states
        .filter(({ kind }) => kind !== "compound")
        .map((state) => (
          <StateBox
            key={state.path}
            {...{ state, chosen, choose }}
            box={drawing.boxes[state.path]!}
            lit={isLit(state.path)}
            found={found?.(state)}
            inside={lit?.get(state.path)}
          />
        ))}
    </svg>
  );
}

function StateBox(props: {
  readonly state: ChartState;
  readonly box: readonly [number, number, number, number];
  readonly lit: boolean;
  readonly found: boolean | undefined;
  readonly inside: number | undefined;
  readonly chosen: string | undefined;
  readonly choose: ((path: string) => void) | undefined;
}) {
  const { state, box, lit, found, inside, chosen, choose } = props;
  const [x, y, width, height] = box;
  const isCompound = state.kind === "compound";
  const kinds = ["state", state.kind, lit && "lit", found && "found", chosen === state.path && "chosen"].filter(
    Boolean,
  );
  const shown = `${lit && !isCompound ? "● " : ""}${state.name}${inside === undefined ? "" : ` ${inside}`}`;
  const name = `${shown}: ${state.path}${lit ? ", present state" : ""}${inside === undefined ? "" : `, ${inside} here`}`;
  const act = choose && {
    role: "button" as const,
    tabindex: 0, // in SVG, names of attributes are as they are written
    "aria-pressed": chosen === state.path,
    onClick: () => choose(state.path),
    onKeyDown: (event: KeyboardEvent) => {
      if (event.key !== "Enter" && event.key !== " ") return;
      event.preventDefault();
      choose(state.path);
    },
  };
  return (
    <g class={kinds.join(" ")} data-state={state.path} aria-label={name} {...(act ?? { role: "img" as const })}>
      <rect x={x} y={y} width={width} height={height} rx={isCompound ? 8 : state.kind === "final" ? height / 2 : 6} />
      {state.kind === "final" && (
        <rect class="inner" x={x + 3} y={y + 3} width={width - 6} height={height - 6} rx={(height - 6) / 2} />
      )}
      <text
        x={isCompound ? x + 12 : x + width / 2}
        y={isCompound ? y + 19 : y + height / 2 + 4}
        text-anchor={isCompound ? "start" : "middle"}
      >
        {shown}
      </text>
    </g>
  );
}

/** A chart of one actor as it is at a moment. */
export function ActorChart(props: {
  readonly chart: ChartData;
  readonly state: string;
  readonly last:
    | { readonly event: string; readonly from: string; readonly to: string; readonly arrow?: string }
    | undefined;
  readonly title: ComponentChildren;
  readonly isLatest: boolean;
}) {
  const { chart, state, last, title, isLatest } = props;
  const taken = last && arrowIn(chart, last);
  return (
    <figure class="actor" data-chart={chart.name} data-state={state}>
      <figcaption>
        <strong>{title}</strong> <span class="now">● {state}</span>
        <span class={isLatest ? "last latest" : "last"}>
          {last
            ? `${last.event || "at once"}: ${last.from === last.to ? "stays" : `from ${last.from}`}`
            : "begins here"}
        </span>
      </figcaption>
      <ChartPicture
        chart={chart}
        size="small"
        lit={new Map([[state, undefined]])}
        taken={taken}
        label={`Chart ${chart.name}, present state ${state}`}
      />
    </figure>
  );
}
