/**
 * Stands in a chart for an action that whoever runs it provides. By itself it does nothing, so that a chart can be
 * run and looked at alone; the relay refuses to start while one of its charts has an action of this kind left.
 */
export const providedAtStart = (): void => {};
