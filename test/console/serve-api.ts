import { Api } from "../../src/console/api.ts";
import type { HttpServer } from "../../src/console/http.ts";

/** Serves a relay by TCP alone. */
export function serveApi({
  listen,
  relay,
  ...options
}: ConstructorParameters<typeof Api>[0] & {
  listen: Parameters<Api["listen"]>[0];
  relay: Parameters<Api["serve"]>[0];
}): Promise<HttpServer> {
  const api = new Api(options);
  api.serve(relay);
  return api.listen(listen);
}
