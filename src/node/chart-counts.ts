import type { AnyStateMachine } from "xstate";
import type { ChartActor, Inspector, Taken } from "../chart/actor.ts";
import { stateText } from "../chart/state-text.ts";
import type { Core } from "../relay/model/core.ts";
import { type Clock, type TimerHandle, unref } from "../support/clock.ts";

/**
 * Of one state: how many actors are in it now; how many have left it since, and how long they had stayed, on average.
 */
export interface StateCount {
  readonly now: number;
  readonly left: number;
  readonly meanMs?: number;
}

/** What was counted of each chart, by the state's path and by the name of the transition. */
export interface ChartCountsView {
  /** Since when arrows are counted, milliseconds since 1970. */
  readonly since: number;
  readonly charts: Readonly<
    Record<
      string,
      { readonly states: Readonly<Record<string, StateCount>>; readonly arrows: Readonly<Record<string, number>> }
    >
  >;
}

/** How long nobody has asked before nothing is counted any more. */
const NOBODY_MS = 15_000;
/** So many actors are followed to measure how long they stay. */
const MOST_ACTORS = 20_000;

interface Counted {
  readonly arrows: Map<string, number>;
  readonly stays: Map<string, { left: number; sumMs: number; measured: number }>;
}

/** Counts how charts move, as long as somebody asks for it. While nobody does, the actors are not looked at. */
export class ChartCounts {
  private readonly core: Pick<Core, "inspectors" | "sessions" | "requests">;
  private readonly clock: Clock;
  private readonly charts = new Map<string, Counted>();
  /** Since when each actor is in its state. */
  private readonly since = new Map<string, number>();
  private began: number | undefined;
  private timer: TimerHandle | undefined;

  constructor(core: Pick<Core, "inspectors" | "sessions" | "requests">, clock: Clock) {
    this.core = core;
    this.clock = clock;
  }

  /** What is counted now. Counting begins with the first question. */
  view(): ChartCountsView {
    const { clock, core } = this;
    if (this.began === undefined) {
      this.began = clock.wall();
      core.inspectors.add(this.saw);
    }
    clock.clearTimeout(this.timer);
    this.timer = clock.setTimeout(() => this.stop(), NOBODY_MS);
    unref(this.timer);
    const now = this.present();
    const names = new Set([...now.keys(), ...this.charts.keys()]);
    const charts = Array.from(names, (name) => {
      const counted = this.charts.get(name);
      const here = now.get(name) ?? new Map<string, number>();
      const paths = new Set([...here.keys(), ...(counted?.stays.keys() ?? [])]);
      const states = Array.from(paths, (path): [string, StateCount] => {
        const { left = 0, sumMs = 0, measured = 0 } = counted?.stays.get(path) ?? {};
        const mean = measured > 0 ? { meanMs: Math.round(sumMs / measured) } : {};
        return [path, { now: here.get(path) ?? 0, left, ...mean }];
      });
      return [name, { states: Object.fromEntries(states), arrows: Object.fromEntries(counted?.arrows ?? []) }] as const;
    });
    return { since: this.began, charts: Object.fromEntries(charts) };
  }

  stop(): void {
    this.clock.clearTimeout(this.timer);
    this.core.inspectors.delete(this.saw);
    this.charts.clear();
    this.since.clear();
    this.began = undefined;
  }

  /** How many actors are in each state. */
  private present(): Map<string, Map<string, number>> {
    const { sessions, requests } = this.core;
    const all = new Map<string, Map<string, number>>();
    const count = (chart: string, actors: Iterable<{ readonly actor: { getSnapshot(): { value: unknown } } }>) => {
      const states = new Map<string, number>();
      for (const { actor } of actors) {
        const path = stateText(actor.getSnapshot().value as never);
        states.set(path, (states.get(path) ?? 0) + 1);
      }
      all.set(chart, states);
    };
    count("session", sessions.values());
    count("request", requests.values());
    return all;
  }

  private readonly saw: Inspector = (inspected) => {
    if (inspected.type !== "@xstate.snapshot") return;
    const { transitions } = inspected as unknown as Taken;
    const actor = inspected.actorRef as unknown as ChartActor<AnyStateMachine>;
    const key = actor.sessionId;
    const now = this.clock.monotonic();
    if (inspected.event.type === "xstate.init") this.entered(key, now);
    for (const { id, from, to } of transitions) {
      const counted = this.of(actor.logic.id);
      counted.arrows.set(id, (counted.arrows.get(id) ?? 0) + 1);
      if (to === undefined || to === from) continue;
      const stay = counted.stays.get(from) ?? { left: 0, sumMs: 0, measured: 0 };
      counted.stays.set(from, stay);
      stay.left++;
      const since = this.since.get(key);
      if (since !== undefined) {
        stay.sumMs += now - since;
        stay.measured++;
      }
      this.entered(key, now);
    }
    if (actor.getSnapshot().status !== "active") this.since.delete(key);
  };

  private entered(key: string, now: number): void {
    if (this.since.size < MOST_ACTORS || this.since.has(key)) this.since.set(key, now);
  }

  private of(chart: string): Counted {
    const known = this.charts.get(chart) ?? { arrows: new Map(), stays: new Map() };
    this.charts.set(chart, known);
    return known;
  }
}
