import type {
  ActorLogic,
  AnyEventObject,
  AnyStateMachine,
  ContextFrom,
  EventFromLogic,
  InputFrom,
  Snapshot,
  StateValue,
} from "xstate";

/*
 * What a chart looks like to those who run it: one function from a snapshot and an event to the next snapshot, which
 * changes nothing by itself. The relay carries out the actions that it names; the simulation and whoever looks on
 * read which transition was taken.
 */

/** One arrow of a chart. Each exists once: whoever counts arrows may compare them as objects. */
export interface Transition {
  /** Names the arrow within its chart: `established.steady bye`, with `#2` where guards choose among several. */
  readonly id: string;
  /** The innermost state that it leaves, as a path: `established.steady`. */
  readonly from: string;
  /** "" for one that is taken without an event. */
  readonly event: string;
  /** The innermost state that it enters; undefined: nothing is left or entered. */
  readonly to: string | undefined;
}

/** Something that a step asks for. */
export interface Action {
  readonly type: string;
  /** What the chart gives it besides context and event. */
  readonly params: unknown;
  /**
   * The context at its place among the actions: what stands before it has changed it already. Undefined: that of the
   * step's snapshot.
   */
  readonly context: unknown;
  /** What the chart was provided with for it. */
  readonly exec: ((args: ActionArgs, params: unknown) => void) | undefined;
}

/** What an action is given. */
export interface ActionArgs {
  context: unknown;
  readonly event: AnyEventObject;
  /** The actor that carries it out. */
  readonly self: unknown;
  readonly system: unknown;
}

/**
 * Where a chart stands, as far as the relay and XState's actors look at it. As JSON it is `{ status, value, context }`.
 */
export type ChartSnapshot<M extends AnyStateMachine = AnyStateMachine> = Snapshot<undefined> & {
  readonly value: StateValue;
  readonly context: ContextFrom<M>;
};

/** What an event does. */
export interface Step<M extends AnyStateMachine = AnyStateMachine> {
  /** The same object where the event means nothing here. */
  readonly snapshot: ChartSnapshot<M>;
  /** The arrow that the event takes; undefined: it means nothing here, or this is the chart's beginning. */
  readonly transition: Transition | undefined;
  /** Arrows without an event that follow it at once. */
  readonly onward: readonly Transition[];
  /** What is to be done, in order. */
  readonly actions: readonly Action[];
}

/** What survives of a snapshot in JSON. */
export interface StoredSnapshot {
  readonly value: unknown;
  readonly context: unknown;
}

/** A chart that can be run: by `ChartActor`, by XState's `createActor`, or step by step. */
export interface Chart<M extends AnyStateMachine>
  extends ActorLogic<ChartSnapshot<M>, EventFromLogic<M>, InputFrom<M>> {
  readonly id: string;
  /** Each arrow, from each innermost state that it can leave. */
  readonly transitions: readonly Transition[];
  /** The first snapshot, and the actions of the states that are entered. */
  begin(input: InputFrom<M>): Step<M>;
  /** What `event` does in `snapshot`: pure, also where an action or a guard was provided that is not. */
  step(snapshot: ChartSnapshot<M>, event: EventFromLogic<M>): Step<M>;
  /** A snapshot from its JSON. Throws where the chart has no such state; the context is taken as it is. */
  restore(stored: StoredSnapshot): ChartSnapshot<M>;
}
