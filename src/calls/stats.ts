import type { CallRecord } from "./record.ts";

/** Upper bounds of the buckets, seconds. */
const ANSWER_S = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 180];
const SESSION_S = [1, 5, 10, 30, 60, 120, 300, 600, 1_800, 3_600, 10_800];
/** So many values a label may have; all others are `other`. Peers cannot make more of them than that. */
const MAX_VALUES = 200;
const OTHER = "other";

export interface Sample {
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

export interface HistogramSample {
  readonly labels: Readonly<Record<string, string>>;
  /** How many were not above each bound, in order. */
  readonly buckets: readonly (readonly [le: number, count: number])[];
  readonly sum: number;
  readonly count: number;
}

/** Metrics with labels, for a monitoring system. */
export interface LabelledMetrics {
  readonly counters: Readonly<Record<string, readonly Sample[]>>;
  readonly histograms: Readonly<Record<string, readonly HistogramSample[]>>;
}

/** A label's values, of which there is a bounded number. */
class Values {
  private readonly known = new Set<string>();

  of(value: string): string {
    if (this.known.has(value)) return value;
    if (this.known.size >= MAX_VALUES) return OTHER;
    this.known.add(value);
    return value;
  }
}

class Histogram {
  readonly counts: number[];
  private readonly bounds: readonly number[];
  sum = 0;
  count = 0;

  constructor(bounds: readonly number[]) {
    this.bounds = bounds;
    this.counts = bounds.map(() => 0);
  }

  add(seconds: number): void {
    this.sum += seconds;
    this.count++;
    let at = 0;
    while (at < this.bounds.length && !(seconds <= this.bounds[at]!)) at++;
    if (at < this.bounds.length) this.counts[at]!++;
  }

  sample(labels: Readonly<Record<string, string>>): HistogramSample {
    let below = 0;
    const buckets = this.bounds.map((bound, i): [number, number] => {
      below += this.counts[i]!;
      return [bound, below];
    });
    return { labels, buckets, sum: this.sum, count: this.count };
  }
}

/** Counts of one metric by the values of its labels. */
class Table<T> {
  private readonly names: readonly string[];
  private readonly rows = new Map<string, { readonly labels: Record<string, string>; readonly value: T }>();
  private readonly make: () => T;

  constructor(names: readonly string[], make: () => T) {
    this.names = names;
    this.make = make;
  }

  at(first: string, second = "", third = ""): T {
    const key = `${first}\n${second}\n${third}`;
    let row = this.rows.get(key);
    if (!row) {
      const values = [first, second, third];
      row = { labels: Object.fromEntries(this.names.map((name, i) => [name, values[i]!])), value: this.make() };
      this.rows.set(key, row);
    }
    return row.value;
  }

  all<R>(of: (labels: Readonly<Record<string, string>>, value: T) => R): R[] {
    return [...this.rows.values()].map(({ labels, value }) => of(labels, value));
  }
}

const counter = () => ({ value: 0 });

/** Adds up the records of requests by status, service and app server. It sees each record once, when it has ended. */
export class CallStats {
  private readonly services = new Values();
  private readonly appServers = new Values();
  private readonly requests = new Table(["kind", "service", "status"], counter);
  private readonly asked = new Table(["app_server", "service", "status"], counter);
  private readonly rings = new Table(["service"], () => new Histogram(ANSWER_S));
  private readonly answers = new Table(["service"], () => new Histogram(ANSWER_S));
  private readonly sessions = new Table(["service", "app_server"], () => new Histogram(SESSION_S));

  add({ kind, service: named = "", status, asked = [], ringMs, answerMs, resumed }: CallRecord): void {
    const service = this.services.of(named);
    if (!resumed) this.requests.at(kind, service, String(status ?? 0)).value++;
    if (kind === "invite" && ringMs !== undefined) this.rings.at(service).add(ringMs / 1000);
    if (kind === "invite" && answerMs !== undefined && asked.length > 0) this.answers.at(service).add(answerMs / 1000);
    for (const { appServer: id, status: said = 0, clockMs } of asked) {
      const appServer = this.appServers.of(id);
      if (!resumed) this.asked.at(appServer, service, String(said)).value++;
      if (clockMs !== undefined) this.sessions.at(service, appServer).add(clockMs / 1000);
    }
  }

  /** `node`: the node's name, as a label of all; "": the relay is alone. */
  metrics(node: string): LabelledMetrics {
    const own = node === "" ? {} : { node };
    const samples = (table: Table<{ value: number }>) =>
      table.all((labels, { value }): Sample => ({ labels: { ...labels, ...own }, value }));
    const histograms = (table: Table<Histogram>) =>
      table.all((labels, histogram) => histogram.sample({ ...labels, ...own }));
    return {
      counters: { requestsEnded: samples(this.requests), appServerAnswers: samples(this.asked) },
      histograms: {
        ringSeconds: histograms(this.rings),
        answerSeconds: histograms(this.answers),
        sessionSeconds: histograms(this.sessions),
      },
    };
  }
}
