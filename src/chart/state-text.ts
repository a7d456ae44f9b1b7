import type { StateValue } from "xstate";

/**
 * A chart's state on one line, from the outside in: `inviting.proceeding.steady`. Regions side by side stand in
 * parentheses: `up.(line.open door.shut)`.
 */
export function stateText(value: StateValue): string {
  if (typeof value === "string") return value;
  const regions = Object.entries(value).flatMap(([name, inner]) => {
    const within = inner === undefined ? "" : stateText(inner);
    return within === "" ? [name] : [`${name}.${within}`];
  });
  return regions.length === 1 ? regions[0]! : regions.length === 0 ? "" : `(${regions.join(" ")})`;
}
