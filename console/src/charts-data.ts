/** The statecharts as the build lays them out (console/charts.mjs). */

export type Box = readonly [x: number, y: number, width: number, height: number];

export interface ChartState {
  /** `established.steady`. */
  readonly path: string;
  readonly name: string;
  readonly kind: "atomic" | "compound" | "final";
  readonly initial?: true;
  /** Actions that are done when it is entered. */
  readonly entry: readonly string[];
  readonly is?: string;
  readonly requirements?: readonly string[];
  /** The title of a test that shows it. */
  readonly test?: string;
  readonly rfc?: readonly string[];
  /** The source file that does its work. */
  readonly work?: string;
  /** First and last line in the chart's source. */
  readonly lines?: readonly [from: number, to: number];
}

export interface Arrow {
  /** The state that it leaves; "": any. */
  readonly from: string;
  /** Missing: it leaves nothing, and only does something. */
  readonly to?: string;
  /** "": at once. */
  readonly event: string;
  readonly guard?: string;
  readonly actions: readonly string[];
}

export interface Edge {
  /** Which arrows are drawn by it. */
  readonly arrows: readonly number[];
  /** The `d` of an SVG path. */
  readonly path: string;
  readonly label?: readonly [x: number, y: number, width: number];
}

export interface Drawing {
  readonly width: number;
  readonly height: number;
  readonly boxes: Readonly<Record<string, Box>>;
  readonly edges: readonly Edge[];
  /** Where a state begins: a dot, and the way to the first state. */
  readonly starts: readonly { readonly dot: Box; readonly path: string }[];
}

export interface ChartData {
  readonly name: string;
  readonly file: string;
  readonly about?: string;
  readonly requirements?: readonly string[];
  readonly states: readonly ChartState[];
  readonly arrows: readonly Arrow[];
  /** For the relay's name of a transition, the arrow. */
  readonly ids: Readonly<Record<string, number>>;
  readonly source: readonly string[];
  readonly sourceFrom: number;
  /** With the names of the events, and without. */
  readonly full: Drawing;
  readonly small: Drawing;
}

export const labelOf = ({ event, guard }: Arrow): string => `${event || "always"}${guard ? ` [${guard}]` : ""}`;

/** The arrow that a transition is: by its name, else by what is known of it. */
export function arrowIn(
  chart: ChartData,
  {
    arrow,
    event,
    from,
    to,
  }: { readonly arrow?: string; readonly event: string; readonly from: string; readonly to: string },
): number | undefined {
  if (arrow !== undefined && chart.ids[arrow] !== undefined) return chart.ids[arrow];
  const first = `${from} ${event || "always"}`;
  const found = Object.entries(chart.ids).filter(([id]) => id === first || id.startsWith(`${first} #`));
  const leads = ({ to: goal }: Arrow) => (goal === undefined ? from === to : to === goal || to.startsWith(`${goal}.`));
  return (found.find(([, i]) => leads(chart.arrows[i]!)) ?? found[0])?.[1];
}
