import { BusError, serversOf } from "./nats-options.ts";
import type { NatsSettings } from "./settings.ts";

/**
 * Makes a `BusError`, with advice, of a connection error that waiting does not mend. Other errors come back as they
 * are.
 */
export function asBusError(error: Error & { code?: string }, settings: NatsSettings): Error {
  if (error instanceof BusError) return error;
  const servers = serversOf(settings);
  const cause = error.cause as (Error & { code?: string }) | undefined;
  const text = `${error.message} ${cause?.message ?? ""} ${error.code ?? ""} ${cause?.code ?? ""}`;
  if (error.name === "AuthorizationError" || error.name === "UserAuthenticationExpiredError")
    return new BusError(
      `${servers}: NATS refuses the sign-in (${error.message}): check bus.user and bus.password, or the other ways`,
    );
  if (/does not support ['"]?tls|tls.*not (available|supported)/i.test(text))
    return new BusError(
      `${servers}: the NATS server does not offer TLS: write nats:// instead of tls://, or configure its tls section`,
    );
  if (/secure connection|tls required|server requires tls/i.test(text))
    return new BusError(`${servers}: the NATS server wants TLS: write tls:// instead of nats://`);
  if (/certificate|SELF_SIGNED|UNABLE_TO_(GET|VERIFY)|ERR_TLS_CERT|CERT_/i.test(text))
    return new BusError(
      `${servers}: TLS: ${cause?.message ?? error.message}: bus.tls.ca must be what signed the server's certificate`,
    );
  return error;
}
