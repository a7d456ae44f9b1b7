import { type AnyStateMachine, createActor, type EventFrom, type InputFrom } from "xstate";
import { TestClock } from "../support/test-clock.ts";
import { noteTransition } from "./pairs.ts";

/** Runs a chart with every one of its actions replaced by one that notes its name. */
export function run<M extends AnyStateMachine>(machine: M, input: InputFrom<M>) {
  const done: string[] = [];
  const own = new Set(namesOfOwn(machine));
  const actions: Record<string, (x: unknown, params?: unknown) => void> = {};
  for (const name of Object.keys(machine.implementations.actions)) {
    if (own.has(name)) continue;
    actions[name] = (_, params) => done.push(params === undefined ? name : `${name} ${JSON.stringify(params)}`);
  }
  // biome-ignore lint/suspicious/noExplicitAny: the harness serves every chart
  const actor = createActor(machine.provide({ actions } as any) as any, { input, clock: new TestClock() } as any);
  actor.start();
  return {
    actor,
    /** Names of the actions since the last look. */
    done: () => done.splice(0),
    send: (...events: EventFrom<M>[]) => {
      for (const event of events) {
        noteTransition(machine, actor.getSnapshot(), event);
        actor.send(event as never);
      }
      return done.splice(0);
    },
    get state() {
      return actor.getSnapshot().value;
    },
    // biome-ignore lint/suspicious/noExplicitAny: the harness serves every chart
    get context(): any {
      return actor.getSnapshot().context;
    },
    get status() {
      return actor.getSnapshot().status;
    },
  };
}

/** Actions that the chart carries out by itself, `assign`: everything that src/ does not provide. */
function namesOfOwn(machine: AnyStateMachine): string[] {
  return Object.entries(machine.implementations.actions)
    .filter(([, action]) => typeof action === "function" && "resolve" in action)
    .map(([name]) => name);
}
