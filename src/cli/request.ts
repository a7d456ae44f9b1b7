import { type AnyOperation, isInQuery, namesIn } from "../operations/operation.ts";

/** The HTTP request for an operation. */
export function requestFor(
  operation: Pick<AnyOperation, "method" | "path">,
  input: object,
): { readonly method: string; readonly url: string; readonly body?: object } {
  const { method, path } = operation;
  const names = namesIn(path);
  const given = Object.entries(input).filter(([name, value]) => value !== undefined && !names.includes(name));
  const url = path.replace(/\{(\w+)\}/g, (_, name: string) =>
    encodeURIComponent(String((input as Record<string, unknown>)[name])),
  );
  if (!isInQuery(method)) return { method, url, body: Object.fromEntries(given) };
  const query = new URLSearchParams(given.map(([name, value]): [string, string] => [name, String(value)]));
  return { method, url: query.size === 0 ? url : `${url}?${query}` };
}
