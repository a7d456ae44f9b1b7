import type { AnyStateMachine } from "xstate";
import type { StateLinks } from "../machines/links.ts";
import type { ChartData } from "./src/charts-data.ts";

export function chartOf(
  machine: AnyStateMachine,
  links: Readonly<Record<string, StateLinks>>,
  file: string,
  root: URL,
): Promise<ChartData>;
