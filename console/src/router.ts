import { signal } from "@preact/signals";

/** Where the page is: `#/call/abc?at=3` is the page `call` of `abc`. Filters are part of the address. */
export interface Route {
  readonly page: string;
  readonly id: string;
  readonly query: URLSearchParams;
}

function read(): Route {
  const [path = "", query = ""] = location.hash.replace(/^#\/?/, "").split("?");
  const [page = "", ...rest] = path.split("/");
  return { page: page || "calls", id: decode(rest.join("/")), query: new URLSearchParams(query) };
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

export const route = signal<Route>(read());
addEventListener("hashchange", () => {
  route.value = read();
});

export function address(page: string, id = "", query: Readonly<Record<string, string | undefined>> = {}): string {
  const params = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) if (value) params.set(name, value);
  const text = params.toString();
  return `#/${page}${id && `/${encodeURIComponent(id)}`}${text && `?${text}`}`;
}

/** Changes the query in the address, without a new entry in the browser's history. */
export function setQuery(changes: Readonly<Record<string, string | undefined>>): void {
  const { page, id, query } = route.value;
  const all = { ...Object.fromEntries(query), ...changes };
  history.replaceState(null, "", address(page, id, all));
  route.value = read();
}
