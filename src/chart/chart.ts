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
 * A chart as those see it who run it: a function from a snapshot and an event to the next snapshot. The function
 * changes nothing by itself. The relay carries out the actions that it lists. The simulation and inspectors read which
 * transition was taken.
 */

/** One arrow of a chart. There is one object for each arrow, so arrows can be compared by identity. */
export interface Transition {
  /** Names the arrow within its chart: `established.steady bye`, with `#2` where guards choose among several. */
  readonly id: string;
  /** The innermost state that it leaves, as a path: `established.steady`. */
  readonly from: string;
  /** "" for an arrow that is taken without an event. */
  readonly event: string;
  /** The innermost state that it enters; undefined: nothing is left or entered. */
  readonly to: string | undefined;
}

/** An action that a step asks for. */
export interface Action {
  readonly type: string;
  /** What the chart gives it besides context and event. */
  readonly params: unknown;
  /**
   * The context when it is this action's turn: with the changes listed before it, without those after it. Undefined:
   * the context of the step's snapshot.
   */
  readonly context: unknown;
  /** The function that was provided for this action. */
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

/** Where a chart stands: what the relay and XState's actors read of it. As JSON it is `{ status, value, context }`. */
export type ChartSnapshot<M extends AnyStateMachine = AnyStateMachine> = Snapshot<undefined> & {
  readonly value: StateValue;
  readonly context: ContextFrom<M>;
};

/** What an event does. */
export interface Step<M extends AnyStateMachine = AnyStateMachine> {
  /** The same object as before where nothing changes, as for an event that the state does not know. */
  readonly snapshot: ChartSnapshot<M>;
  /** The arrow that the event takes. Undefined: the state does not take the event, or this is the chart's beginning. */
  readonly transition: Transition | undefined;
  /** Arrows without an event that follow it at once. */
  readonly onward: readonly Transition[];
  /** What is to be done, in order. */
  readonly actions: readonly Action[];
}

/** What is kept of a snapshot as JSON. */
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
  /** What `event` does in `snapshot`. It asks the guards and carries out no action. */
  step(snapshot: ChartSnapshot<M>, event: EventFromLogic<M>): Step<M>;
  /** A snapshot from its JSON. Throws where the chart has no such state; the context is taken as it is. */
  restore(stored: StoredSnapshot): ChartSnapshot<M>;
}
