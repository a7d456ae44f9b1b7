import { OPERATIONS } from "../operations/all.ts";

/** By which of a relay's two doors a request has come: the socket in the data folder, or HTTP by TCP. */
export type Door = "socket" | "tcp";

/**
 * Who may use a path: the owner of the data folder; an app server with a key; a token whose role may (rights.ts);
 * monitoring (`http.metrics`); anybody. */
export type Access = "owner" | "key" | "token" | "monitoring" | "anybody";

/**
 * Every path that is served, and by which door. A path that is not in this list is not served, even if there is a
 * route for it. Only the owner of the data folder may open the socket, by the file's rights.
 */
export const ROUTES: Readonly<Record<string, { readonly doors: readonly Door[]; readonly access: Access }>> = {
  "/metrics": { doors: ["socket", "tcp"], access: "monitoring" },
  "/livez": { doors: ["socket", "tcp"], access: "anybody" },
  "/readyz": { doors: ["socket", "tcp"], access: "anybody" },
  "/healthz": { doors: ["socket", "tcp"], access: "anybody" },
  "/v1/charges": { doors: ["tcp"], access: "key" },
  "/console": { doors: ["tcp"], access: "anybody" },
  "/v1/sessions/:id/end": { doors: ["tcp"], access: "key" },
  "/v1/sessions/:id/change": { doors: ["tcp"], access: "key" },
  "/v1/sessions/:id/move": { doors: ["tcp"], access: "key" },
  "/v1/events": { doors: ["socket", "tcp"], access: "token" },
  "/v1/openapi.yaml": { doors: ["socket", "tcp"], access: "anybody" },
  "/identity/certificate.pem": { doors: ["tcp"], access: "anybody" },
  "/provisioning/:token": { doors: ["tcp"], access: "anybody" },
  "/identity/shaken.pem": { doors: ["tcp"], access: "anybody" },
  "/.well-known/jwks.json": { doors: ["tcp"], access: "anybody" },
};

/** Operations are served by both doors: each says who may do it. */
const OPERATION_PATHS = OPERATIONS.map(({ path }) => path).map(
  (path) => new RegExp(`^${path.replaceAll(".", "\\.").replace(/\{\w+\}/g, "[^/]+")}$`),
);

/** Whether something is served at that path by that door. */
export const isServed = (path: string, door: Door): boolean => {
  if (door === "tcp" && path.startsWith("/console/")) return true;
  const route = Object.hasOwn(ROUTES, path) ? ROUTES[path] : PATTERNS.find(([pattern]) => pattern.test(path))?.[1];
  if (route) return route.doors.includes(door);
  return path.startsWith("/v1/") && OPERATION_PATHS.some((operation) => operation.test(path));
};

/** Paths with an id in them. */
const PATTERNS = Object.entries(ROUTES)
  .filter(([path]) => path.includes(":"))
  .map(([path, route]) => [new RegExp(`^${path.replaceAll(/:\w+/g, "[^/]+")}$`), route] as const);
