import type {
  AnyMachineSnapshot,
  AnyStateMachine,
  EventFromLogic,
  InputFrom,
  InspectionEvent,
  SnapshotFrom,
} from "xstate";
import type { ChartLogic } from "./chart-logic.ts";

/*
 * Runs the logic of an XState chart as XState's own `Actor` runs it: one event after the other, those that come in the meantime wait;
 * actions of the first state when it starts; after the last state, or an action that throws, nothing more. XState makes of each root actor a
 * system with schedulers and registers of its own, some 40 objects, of which a call needs none. A test holds the two together.
 */

/** Hears what XState's inspection tells: `@xstate.actor`, `@xstate.event`, `@xstate.snapshot`. */
export type Inspector = (event: InspectionEvent) => void;

/** Whose actor it is: the actions of the chart act on it. */
export interface Owner {
  /** True once it has been forgotten: what its chart still asks for is not done. */
  readonly closed: boolean;
  /** An action threw `error`. The actor has stopped by then. */
  crashed(error: unknown): void;
}

export interface ChartActorOptions<M extends AnyStateMachine> {
  readonly id: string;
  readonly input: InputFrom<M>;
  readonly owner: Owner;
  /** Who looks on; may grow and shrink while the actor runs. */
  readonly inspectors?: ReadonlySet<Inspector>;
}

/** For the actions of a chart: whose actor carries them out; undefined where it is closed. `T` is what the actors of that chart belong to. */
export function ownerOf<T extends Owner>({ self }: { readonly self: unknown }): T | undefined {
  const { owner } = self as ChartActor<AnyStateMachine>;
  return owner.closed ? undefined : (owner as T);
}

const NOBODY: ReadonlySet<Inspector> = new Set();

export class ChartActor<M extends AnyStateMachine> {
  readonly id: string;
  readonly owner: Owner;
  private readonly logic: ChartLogic<M>;
  private readonly inspectors: ReadonlySet<Inspector>;
  private snapshot: SnapshotFrom<M>;
  private state: "made" | "idle" | "working" | "stopped" = "made";
  private waiting: EventFromLogic<M>[] = NONE;
  private deferred: (() => void)[] = [];

  constructor(logic: ChartLogic<M>, options: ChartActorOptions<M>) {
    this.id = options.id;
    this.logic = logic;
    this.owner = options.owner;
    this.inspectors = options.inspectors ?? NOBODY;
    this.snapshot = logic.getInitialSnapshot(this.scope, options.input);
    if (this.inspectors.size > 0) this.tell({ type: "@xstate.actor" });
  }

  getSnapshot(): SnapshotFrom<M> {
    return this.snapshot;
  }

  /** Carries out the actions of the first state, and then takes events. */
  start(): void {
    if (this.state !== "made") return;
    this.state = "working";
    const init = { type: "xstate.init" } as EventFromLogic<M>;
    if (this.inspectors.size > 0) this.tell({ type: "@xstate.event", sourceRef: undefined, event: init });
    const { deferred } = this;
    this.deferred = NONE;
    try {
      for (const action of deferred) action();
    } catch (error) {
      this.fail(error);
      return;
    }
    this.moved(init);
    this.workOff();
  }

  /** Never throws for what an action does: that goes to `failed`. */
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
    try {
      this.snapshot = this.logic.transition(this.snapshot, event, this.scope);
    } catch (error) {
      this.fail(error);
      return;
    }
    this.moved(event);
  }

  private moved(event: EventFromLogic<M>): void {
    if ((this.snapshot as AnyMachineSnapshot).status === "done") this.state = "stopped";
    if (this.inspectors.size > 0) this.tell({ type: "@xstate.snapshot", event, snapshot: this.snapshot });
  }

  private fail(error: unknown): void {
    this.state = "stopped";
    this.snapshot = { ...(this.snapshot as AnyMachineSnapshot), status: "error", error } as SnapshotFrom<M>;
    this.owner.crashed(error);
  }

  private tell(event: object): void {
    for (const inspector of this.inspectors) {
      try {
        inspector({ ...event, rootId: this.id, actorRef: this } as unknown as InspectionEvent);
      } catch (error) {
        process.emitWarning(error as Error); // whoever looks on does not hurt the call
      }
    }
  }

  // --- what the logic sees of its actor: XState's ActorScope, as far as charts without children use it ---

  private get scope(): Parameters<ChartLogic<M>["transition"]>[2] {
    return this as never;
  }

  get self(): this {
    return this;
  }

  get system(): undefined {
    return undefined;
  }

  /** Only the first state's actions come here: they wait for `start`. */
  actionExecutor({
    exec,
    info,
    params,
  }: {
    exec?: (info: unknown, params: unknown) => void;
    info: unknown;
    params: unknown;
  }): void {
    this.deferred.push(() => exec?.(info, params));
  }
}

/** No events: one list for all actors that have none. */
const NONE: never[] = [];
