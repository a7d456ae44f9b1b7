import type { Core, Device, LegPort } from "../model/core.ts";

/** With what the client has registered by whose connection this dialog is reached; undefined: with nothing. */
export function deviceAt({ bindings }: Pick<Core, "bindings">, leg: LegPort): Device | undefined {
  const { flow } = leg.dialog;
  if (leg.side !== "client" || !flow) return leg.device;
  const { user } = leg.session;
  const instance = bindings.instanceAt(flow, user);
  return instance === undefined ? undefined : { user, instance };
}
