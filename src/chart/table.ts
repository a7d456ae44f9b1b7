import type { ActorScope, AnyEventObject, AnyStateMachine, AnyStateNode, ContextFrom } from "xstate";
import type { Action, ActionArgs, Chart, ChartSnapshot, Step, StoredSnapshot, Transition } from "./chart.ts";
import { descend, domainOf, leavesUnder, pathOf, stateValue, textOf } from "./nodes.ts";

/*
 * Makes a table of an XState chart. XState works out with each event anew which states are left and entered; for a
 * chart without parallel states, history, timers and children that is the same each time. Here it is worked out once,
 * when the relay starts: for each leaf and event, the guards to ask and the actions to take. Measured for a whole call,
 * this takes a third of the time and a sixth of the memory of XState's own interpreter. A test compares the two, event
 * by event.
 */

type Scope = ActorScope<never, AnyEventObject>;
type Context = Record<string, unknown>;
type Found = (args: ActionArgs, params: unknown) => void;

/** One thing that a transition does: changes the context, or asks for an action. */
interface Deed {
  readonly type: string;
  readonly params: unknown;
  readonly exec: Found | undefined;
  /** Set for `assign`: gives the next context. */
  readonly assign: ((args: ActionArgs, params: unknown) => Context) | undefined;
}

/** What a transition does, in order. */
interface Deeds {
  readonly all: readonly Deed[];
  /** Whether the context changes. */
  readonly changes: boolean;
  /**
   * Set where all changes of the context come first, and no action has parameters that depend on the event. Most
   * transitions are like that. Their actions are listed once, at start.
   */
  readonly plain: { readonly assigns: readonly Deed[]; readonly actions: readonly Action[] } | undefined;
}

/** What an event does in a leaf, if its guard allows it. */
interface Plan {
  readonly guard: ((args: ActionArgs, params: unknown) => boolean) | undefined;
  readonly guardParams: unknown;
  readonly deeds: Deeds;
  /** The leaf that is entered; undefined: nothing is left or entered. */
  readonly next: Leaf | undefined;
  readonly transition: Transition;
}

/** A state that has no states in it. */
interface Leaf {
  readonly path: string;
  readonly value: unknown;
  readonly done: boolean;
  plans: Map<string, readonly Plan[]>;
  /** Transitions without an event, taken as soon as their guards allow it. */
  always: readonly Plan[];
}

/** Key of a snapshot's leaf. A symbol, so that the leaf does not get into JSON. */
const LEAF = Symbol("leaf");

class TableSnapshot {
  readonly status: "active" | "done";
  readonly value: unknown;
  readonly context: unknown;
  readonly [LEAF]: Leaf;

  constructor(leaf: Leaf, context: unknown) {
    this.status = leaf.done ? "done" : "active";
    this.value = leaf.value;
    this.context = context;
    this[LEAF] = leaf;
  }

  get output(): undefined {
    return undefined;
  }

  get error(): undefined {
    return undefined;
  }

  toJSON() {
    return { status: this.status, value: this.value, context: this.context };
  }
}

class Asked implements Action {
  readonly type: string;
  readonly params: unknown;
  readonly context: unknown;
  readonly exec: Found | undefined;

  constructor({ type, exec }: Pick<Deed, "type" | "exec">, params: unknown, context: unknown) {
    this.type = type;
    this.params = params;
    this.context = context;
    this.exec = exec;
  }
}

const ALWAYS_BOUND = 100;
const NO_ACTIONS: readonly Action[] = [];
const NO_TRANSITIONS: readonly Transition[] = [];

export interface ChartOptions<M extends AnyStateMachine> {
  /**
   * Copies a context. A chart that has to be fast brings its own: the one spread that all other charts share is slow,
   * because it sees contexts of several shapes.
   */
  readonly copy?: (context: ContextFrom<M>) => ContextFrom<M>;
}

/**
 * Makes a chart that can be run. Throws where it uses what the table cannot hold: a programmer's error, found at start.
 */
export function chartFrom<M extends AnyStateMachine>(machine: M, options: ChartOptions<M> = {}): Chart<M> {
  const table = new Table(machine, options);
  const chart = {
    id: machine.id,
    config: machine.config,
    transitions: table.transitions,
    begin: (input: unknown) => table.begin(input, undefined),
    step: (snapshot: TableSnapshot, event: AnyEventObject) => table.step(snapshot, event),
    restore: (stored: StoredSnapshot) => table.restore(stored),

    // What XState's own actors ask of their logic.
    getInitialSnapshot: (scope: Scope, input: unknown) => {
      const { snapshot, actions } = table.begin(input, scope.self);
      const event = { type: "xstate.init", input };
      // The actor has not started: its executor keeps the actions until it does.
      for (const { type, params, context, exec } of actions)
        scope.actionExecutor({
          type,
          info: { context: context ?? snapshot.context, event, self: scope.self, system: scope.system },
          params,
          exec,
        } as never);
      return snapshot;
    },
    transition: (snapshot: TableSnapshot, event: AnyEventObject, scope: Scope) => {
      const step = table.step(snapshot, event);
      carryOut(step, event, scope.self, scope.system);
      return step.snapshot;
    },
    getPersistedSnapshot: (snapshot: TableSnapshot) => snapshot.toJSON(),
    restoreSnapshot: (stored: StoredSnapshot) => table.restore(stored),
  };
  return chart as unknown as Chart<M>;
}

/** Carries the actions of a step out, each with the context at its place. `self` is the actor that they act for. */
export function carryOut({ actions, snapshot }: Step, event: AnyEventObject, self: unknown, system?: unknown): void {
  if (actions.length === 0) return;
  const { context } = snapshot;
  const args: ActionArgs = { context, event, self, system };
  for (const action of actions) {
    args.context = action.context ?? context;
    action.exec?.(args, action.params);
  }
}

class Table {
  readonly transitions: Transition[] = [];
  private readonly machine: AnyStateMachine;
  private readonly copy: (context: Context) => Context;
  private readonly leaves = new Map<AnyStateNode, Leaf>();
  private readonly byValue = new Map<string, Leaf>();
  private readonly start: Leaf;
  private readonly startDeeds: Deeds;

  constructor(machine: AnyStateMachine, { copy = copyAny }: ChartOptions<AnyStateMachine>) {
    this.machine = machine;
    this.copy = copy;
    const nodes = leavesUnder(machine.root);
    for (const node of nodes) {
      const done = node.type === "final";
      const leaf: Leaf = { path: pathOf(node), value: stateValue(node), done, plans: new Map(), always: [] };
      this.leaves.set(node, leaf);
      this.byValue.set(textOf(leaf.value), leaf);
    }
    for (const node of nodes) this.fill(node, this.leaves.get(node)!);
    const path = descend(machine.root);
    this.start = this.leaves.get(path.at(-1)!)!;
    this.startDeeds = deedsOf(this.entering(path));
  }

  begin(input: unknown, self: unknown): Step {
    const { context } = this.machine.config;
    const first = typeof context === "function" ? context({ input, self, spawn: undefined } as never) : context;
    const args: ActionArgs = { context: first, event: { type: "xstate.init", input }, self, system: undefined };
    return this.settle(this.start, undefined, args, perform(this.startDeeds, args, NO_ACTIONS));
  }

  step(snapshot: TableSnapshot, event: AnyEventObject): Step {
    const leaf = snapshot[LEAF];
    const plans = leaf.plans.get(event.type);
    const args: ActionArgs = { context: snapshot.context, event, self: undefined, system: undefined };
    const plan = plans && choose(plans, args);
    if (plan === undefined)
      return {
        snapshot: snapshot as ChartSnapshot,
        transition: undefined,
        onward: NO_TRANSITIONS,
        actions: NO_ACTIONS,
      };
    const { transition, next = leaf } = plan;
    return this.settle(next, transition, args, perform(plan.deeds, args, NO_ACTIONS), snapshot);
  }

  restore({ value, context }: StoredSnapshot): TableSnapshot {
    const leaf = this.byValue.get(textOf(value));
    if (leaf === undefined) throw new Error(`the chart ${this.machine.id} has no state ${textOf(value)}`);
    return new TableSnapshot(leaf, context);
  }

  /**
   * Takes transitions without an event until there is none left. `from` is the snapshot before, given back where state
   * and context are the same.
   */
  private settle(
    leaf: Leaf,
    transition: Transition | undefined,
    args: ActionArgs,
    first: readonly Action[],
    from?: TableSnapshot,
  ): Step {
    let at = leaf;
    let actions = first;
    let onward = NO_TRANSITIONS;
    for (let round = 0; at.always.length > 0; round++) {
      if (round === ALWAYS_BOUND) throw new Error(`the chart ${this.machine.id} does not come to rest`);
      const plan = choose(at.always, args);
      if (plan === undefined) break;
      if (plan.deeds.changes) actions = asOf(actions, args.context);
      actions = perform(plan.deeds, args, actions);
      onward = [...onward, plan.transition];
      at = plan.next ?? at;
    }
    const { context } = args;
    const isSame = from !== undefined && from[LEAF] === at && from.context === context;
    const snapshot = (isSame ? from : new TableSnapshot(at, context)) as ChartSnapshot;
    return { snapshot, transition, onward, actions };
  }

  private fill(node: AnyStateNode, leaf: Leaf): void {
    const candidates = new Map<string, TransitionDefinition[]>();
    // An inner state's transitions come before an outer one's.
    for (let at: AnyStateNode | undefined = node; at; at = at.parent) {
      for (const [type, transitions] of at.transitions) {
        if (type.includes("*")) this.refuse(at, "wildcard events");
        candidates.set(type, [...(candidates.get(type) ?? []), ...transitions]);
      }
    }
    const always: TransitionDefinition[] = [];
    for (let at: AnyStateNode | undefined = node; at; at = at.parent) always.push(...(at.always ?? []));
    for (const [type, transitions] of candidates) leaf.plans.set(type, this.plans(node, leaf, type, transitions));
    leaf.always = this.plans(node, leaf, "", always);
  }

  /** The alternatives of one event, up to the first without a guard: those after it are never asked. */
  private plans(node: AnyStateNode, leaf: Leaf, event: string, all: readonly TransitionDefinition[]): Plan[] {
    const certain = all.findIndex(({ guard }) => guard === undefined);
    const asked = certain < 0 ? all : all.slice(0, certain + 1);
    return asked.map((definition, i) => {
      const name = `${leaf.path} ${event || "always"}`;
      const plan = this.plan(node, leaf, event, asked.length > 1 ? `${name} #${i + 1}` : name, definition);
      this.transitions.push(plan.transition);
      return plan;
    });
  }

  private plan(node: AnyStateNode, leaf: Leaf, event: string, id: string, definition: TransitionDefinition): Plan {
    const { source, target, guard } = definition;
    const actions = definition.actions.map((action) => this.deed(action));
    const named = guard === undefined ? undefined : this.named(guard);
    const found = named && this.machine.implementations.guards[named.type];
    if (named && typeof found !== "function") this.refuse(source, `the guard ${named.type}`);
    const asks = { guard: found as Plan["guard"], guardParams: named?.params };
    const transition = { id, from: leaf.path, event };
    if (target === undefined) {
      return { ...asks, deeds: deedsOf(actions), next: undefined, transition: { ...transition, to: undefined } };
    }
    if (target.length !== 1) this.refuse(source, "several targets");
    const goal = target[0]!;
    if (node.exit.length > 0) this.refuse(node, "exit actions");
    // Entered are all states below `domain` on the way down to the goal, and then the goal's initial states.
    const domain = domainOf(source, goal, definition.reenter === true);
    const path: AnyStateNode[] = [];
    for (let at: AnyStateNode | undefined = goal; at && at !== domain; at = at.parent) path.unshift(at);
    path.push(...descend(goal));
    const next = this.leaves.get(path.at(-1)!)!;
    const deeds = deedsOf([...actions, ...this.entering(path)]);
    return { ...asks, deeds, next, transition: { ...transition, to: next.path } };
  }

  private entering(path: readonly AnyStateNode[]): Deed[] {
    return path.flatMap((node) => node.entry.map((action) => this.deed(action)));
  }

  private deed(action: unknown): Deed {
    const { type, params } = this.named(action);
    const found = this.machine.implementations.actions[type] as
      | (Found & { type?: string; assignment?: unknown })
      | undefined;
    if (found === undefined || !("resolve" in found)) return { type, params, exec: found, assign: undefined };
    if (found.type !== "xstate.assign")
      throw new Error(`the chart ${this.machine.id}: ${type} is not an action that the table holds`);
    return { type, params, exec: undefined, assign: assigner(found.assignment, this.copy) };
  }

  private named(thing: unknown): { type: string; params: unknown } {
    if (typeof thing === "string") return { type: thing, params: undefined };
    const { type, params } = thing as { type?: unknown; params?: unknown };
    if (typeof type !== "string" || typeof thing === "function")
      throw new Error(`the chart ${this.machine.id}: actions and guards go by name`);
    return { type, params };
  }

  private refuse(node: AnyStateNode, what: string): never {
    throw new Error(`the chart ${this.machine.id} at ${pathOf(node) || "its root"}: the table holds no ${what}`);
  }
}

type TransitionDefinition = AnyStateNode["transitions"] extends Map<string, (infer T)[]> ? T : never;

/** Makes the changes of the context, and adds the actions that are asked for to those in `before`. */
function perform({ all, plain }: Deeds, args: ActionArgs, before: readonly Action[]): readonly Action[] {
  if (plain) {
    for (const { assign, params } of plain.assigns) args.context = assign!(args, paramsOf(params, args));
    if (plain.actions.length === 0) return before;
    return before.length === 0 ? plain.actions : [...before, ...plain.actions];
  }
  const actions: Action[] = [...before];
  for (const deed of all) {
    const params = paramsOf(deed.params, args);
    if (deed.assign === undefined) actions.push(new Asked(deed, params, args.context));
    else args.context = deed.assign(args, params);
  }
  return actions;
}

const paramsOf = (params: unknown, args: ActionArgs): unknown => (typeof params === "function" ? params(args) : params);

/** The context is about to change: gives each of these actions the context from before. */
function asOf(actions: readonly Action[], context: unknown): readonly Action[] {
  if (actions.length === 0) return actions;
  return actions.map((action) => (action.context === undefined ? new Asked(action, action.params, context) : action));
}

function deedsOf(all: readonly Deed[]): Deeds {
  const isAssign = ({ assign }: Deed) => assign !== undefined;
  const first = all.findIndex((deed) => !isAssign(deed));
  const assigns = first < 0 ? all : all.slice(0, first);
  const asked = all.slice(assigns.length);
  const isPlain = !asked.some((deed) => isAssign(deed) || typeof deed.params === "function");
  const plain = isPlain
    ? { assigns, actions: asked.map((deed) => new Asked(deed, deed.params, undefined)) }
    : undefined;
  return { all, changes: all.some(isAssign), plain };
}

function choose(plans: readonly Plan[], args: ActionArgs): Plan | undefined {
  for (const plan of plans) {
    if (plan.guard === undefined) return plan;
    const params = typeof plan.guardParams === "function" ? plan.guardParams(args) : plan.guardParams;
    if (plan.guard(args, params)) return plan;
  }
  return undefined;
}

/**
 * Makes one function, which returns the next context, of what `assign` was given: a function that returns properties,
 * or properties with functions.
 */
function assigner(assignment: unknown, copy: (context: Context) => Context): Deed["assign"] {
  if (typeof assignment === "function") {
    return (args, params) => {
      const next = copy(args.context as Context);
      // No spread of both: V8 copies the first object of a spread fast, and the second one slowly.
      const changes = assignment(args, params) as Context;
      for (const key in changes) next[key] = changes[key];
      return next;
    };
  }
  const entries = Object.entries(assignment as object);
  return (args, params) => {
    const next = copy(args.context as Context);
    for (const [key, value] of entries) next[key] = typeof value === "function" ? value(args, params) : value;
    return next;
  };
}

const copyAny = (context: Context): Context => ({ ...context });
