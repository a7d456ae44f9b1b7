/**
 * Stands in a chart for an action that is provided by whoever runs the chart. It does nothing, so that a chart can be
 * run and looked at alone. The relay refuses to start while a chart of its own still has such an action.
 */
export const providedAtStart = (): void => {};
