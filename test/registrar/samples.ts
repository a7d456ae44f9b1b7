import type { Binding } from "../../src/registrar/binding.ts";

/** Alice's telephone, registered for an hour at 0. */
export const binding = (over: Partial<Binding> = {}): Binding => ({
  user: "alice",
  key: "sip:alice@192.0.2.50:5062",
  aor: "sip:alice@portal.com",
  contact: "sip:alice@192.0.2.50:5062",
  params: ";q=0.5",
  q: 0.5,
  instance: undefined,
  regId: undefined,
  path: [],
  callId: "call-1",
  cseq: 1,
  userAgent: "phone/1",
  temps: [],
  cameFrom: { transport: "udp", address: "192.0.2.50", port: 5062 },
  behind: undefined,
  survives: true,
  since: 0,
  until: 3_600_000,
  ...over,
});
