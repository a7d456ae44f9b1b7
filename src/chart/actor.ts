import type { AnyEventObject, AnyStateMachine, EventFromLogic, InputFrom, InspectionEvent } from "xstate";
import type { Chart, ChartSnapshot, Step, StoredSnapshot, Transition } from "./chart.ts";
import { carryOut } from "./table.ts";

/*
 * Runs a chart as XState's own `Actor` does. Events are taken one after the other; those that come meanwhile wait. The
 * actions of the first state are done at `start`. After a final state, or an action that throws, nothing more is done.
 * An actor that goes on from a snapshot does not do the actions of its state again.
 *
 * Why not XState's own: it gives each root actor a system with schedulers and registers, some 40 objects, and a call
 * needs none of them. A test compares the two.
 */

/** Gets events of XState's inspection protocol: `@xstate.actor`, `@xstate.event`, `@xstate.snapshot`. */
export type Inspector = (event: InspectionEvent) => void;

/** What an `@xstate.snapshot` says besides: the arrows of the chart that led to the snapshot. */
export interface Taken {
  readonly transitions: readonly Transition[];
}

/** What an actor belongs to: the actions of the chart act on it. */
export interface Owner {
  /**
   * True once the owner has been forgotten. Actions that its chart still asks for then find no owner, and do nothing.
   */
  readonly closed: boolean;
  /** An action threw `error`. The actor has stopped by then. */
  crashed(error: unknown): void;
}

export type ChartActorOptions<M extends AnyStateMachine> = {
  readonly id: string;
  readonly owner: Owner;
  /** Who inspects the actor. The set may grow and shrink while the actor runs. */
  readonly inspectors?: ReadonlySet<Inspector>;
} & (
  | { readonly input: InputFrom<M> } // what the chart's first context is made of
  | { readonly snapshot: StoredSnapshot } // where it goes on
);

/**
 * For the actions of a chart: the owner of the actor that carries them out; undefined where the owner is closed. `T` is
 * the type of owner that the chart's actors have.
 */
export function ownerOf<T extends Owner>({ self }: { readonly self: unknown }): T | undefined {
  const { owner } = self as ChartActor<AnyStateMachine>;
  return owner.closed ? undefined : (owner as T);
}

const NOBODY: ReadonlySet<Inspector> = new Set();
/** One empty list, shared by all actors for which no event waits. */
const NONE: never[] = [];
const INIT = { type: "xstate.init", input: undefined };

export class ChartActor<M extends AnyStateMachine> {
  readonly id: string;
  readonly owner: Owner;
  /** XState's name for what an actor runs; inspectors read the chart's definition there. */
  readonly logic: Chart<M>;
  private readonly inspectors: ReadonlySet<Inspector>;
  private snapshot: ChartSnapshot<M>;
  private state: "made" | "idle" | "working" | "stopped" = "made";
  private waiting: EventFromLogic<M>[] = NONE;
  /** The first state's actions, and the event that asks for them, until `start`. */
  private first: { readonly step: Step<M>; readonly event: EventFromLogic<M> } | undefined;

  /** Throws where the snapshot names a state that the chart does not have. */
  constructor(logic: Chart<M>, options: ChartActorOptions<M>) {
    this.id = options.id;
    this.logic = logic;
    this.owner = options.owner;
    this.inspectors = options.inspectors ?? NOBODY;
    if ("snapshot" in options) this.snapshot = logic.restore(options.snapshot);
    else {
      const step = logic.begin(options.input);
      this.snapshot = step.snapshot;
      this.first = { step, event: { type: "xstate.init", input: options.input } as unknown as EventFromLogic<M> };
    }
    if (this.inspectors.size > 0) this.tell({ type: "@xstate.actor" });
  }

  /** Names the actor among all of the process: inspectors tell actors apart by it. */
  get sessionId(): string {
    return `${this.logic.id}:${this.id}`;
  }

  getSnapshot(): ChartSnapshot<M> {
    return this.snapshot;
  }

  /** Carries out the actions of the first state, and then takes events. */
  start(): void {
    if (this.state !== "made") return;
    this.state = "working";
    const { first } = this;
    const init = first?.event ?? (INIT as EventFromLogic<M>);
    this.first = undefined;
    if (this.inspectors.size > 0) this.tell({ type: "@xstate.event", sourceRef: undefined, event: init });
    try {
      if (first) carryOut(first.step, init as AnyEventObject, this);
    } catch (error) {
      this.fail(error);
      return;
    }
    this.moved(init, NONE);
    this.workOff();
  }

  /** Does not throw when an action throws: the owner's `crashed` gets the error. */
  send(event: EventFromLogic<M>): void {
    if (this.state === "stopped") return;
    if (this.state !== "idle") {
      if (this.waiting === NONE) this.waiting = [];
      this.waiting.push(event);
      return;
    }
    this.state = "working";
    this.take(event);
    this.workOff();
  }

  private workOff(): void {
    for (let i = 0; i < this.waiting.length; i++) this.take(this.waiting[i]!);
    this.waiting = NONE;
    if (this.state === "working") this.state = "idle";
  }

  private take(event: EventFromLogic<M>): void {
    if (this.state === "stopped") return;
    if (this.inspectors.size > 0) this.tell({ type: "@xstate.event", sourceRef: undefined, event });
    let transitions: readonly Transition[] = NONE;
    try {
      const step = this.logic.step(this.snapshot, event);
      carryOut(step, event, this);
      this.snapshot = step.snapshot;
      if (this.inspectors.size > 0 && step.transition) transitions = [step.transition, ...step.onward];
    } catch (error) {
      this.fail(error);
      return;
    }
    this.moved(event, transitions);
  }

  private moved(event: EventFromLogic<M>, transitions: readonly Transition[]): void {
    if (this.snapshot.status === "done") this.state = "stopped";
    if (this.inspectors.size > 0) this.tell({ type: "@xstate.snapshot", event, snapshot: this.snapshot, transitions });
  }

  /**
   * Work that an action began, and that nobody awaits, has failed with `error`. The actor stops as when an action
   * throws. Returns false where it had stopped before: its owner then hears nothing.
   */
  fault(error: unknown): boolean {
    if (this.state === "stopped") return false;
    this.fail(error);
    return true;
  }

  private fail(error: unknown): void {
    this.state = "stopped";
    this.snapshot = { ...this.snapshot, status: "error", error };
    this.owner.crashed(error);
  }

  private tell(event: object): void {
    for (const inspector of this.inspectors) {
      try {
        inspector({ ...event, rootId: this.sessionId, actorRef: this } as unknown as InspectionEvent);
      } catch (error) {
        process.emitWarning(error as Error); // an inspector's fault must not hurt the call
      }
    }
  }
}
