import { computed, signal } from "@preact/signals";

/*
 * The relay's HTTP API. The token is in this window's sessionStorage and goes with each request as a header: nothing
 * that the browser sends by itself opens anything.
 */

export interface Me {
  readonly name: string;
  readonly role: string;
  readonly rights: readonly string[];
}

export type Right = "see" | "see-money" | "bill" | "operate" | "administer";

/** Who looks; undefined: not known yet; null: nobody, a token is needed. */
export const me = signal<Me | null | undefined>(undefined);
/** Why the relay took a token away from whoever had signed in; "": it did not. */
export const signedOutBy = signal("");

const isAway = signal(false);
const deaf = signal("");
const AWAY = "The relay does not answer. This page asks again by itself.";
/** What is wrong between this page and the relay; "": nothing. */
export const trouble = computed(() => (isAway.value ? AWAY : deaf.value));
/** Goes up when the relay answers again after it did not: what was not heard then is asked for anew. */
export const returns = signal(0);

const KEY = "tollgate.token";
let token = sessionStorage.getItem(KEY) ?? "";

export const may = (right: Right): boolean => me.value?.rights.includes(right) ?? false;

/** A refusal by the relay. */
export class ApiError extends Error {
  readonly status: number;

  constructor(status: number, text: string) {
    super(text);
    this.status = status;
  }
}

/** Takes another token, and asks the relay whose it is. Rejects where it is nobody's. */
export async function signIn(given: string): Promise<void> {
  token = given.trim();
  sessionStorage.setItem(KEY, token);
  signedOutBy.value = "";
  await askWho();
}

export function signOut(): void {
  forget();
  signedOutBy.value = "";
  me.value = null;
  void askWho().catch(() => {});
}

function forget(): void {
  token = "";
  sessionStorage.removeItem(KEY);
}

export const hasToken = (): boolean => token !== "";

export async function askWho(): Promise<void> {
  try {
    me.value = await get<Me>("me");
  } catch (error) {
    // A relay that does not answer has refused nobody.
    if (error instanceof ApiError && error.status === 0) throw error;
    me.value = null;
    if (!(error instanceof ApiError && error.status === 401)) throw error;
    if (token === "") return;
    forget();
    throw new ApiError(401, UNKNOWN_TOKEN);
  }
}

const UNKNOWN_TOKEN = "The relay does not know this token, or its time is over.";

type Query = Readonly<Record<string, string | number | undefined>>;

function urlOf(path: string, query: Query = {}): string {
  const params = new URLSearchParams();
  for (const [name, value] of Object.entries(query))
    if (value !== undefined && value !== "") params.set(name, `${value}`);
  const text = params.toString();
  return `../v1/${path}${text === "" ? "" : `?${text}`}`;
}

const headers = (more: Record<string, string> = {}): Record<string, string> =>
  token === "" ? more : { ...more, Authorization: `Bearer ${token}` };

async function ask(path: string, init: RequestInit, query?: Query): Promise<Response> {
  let response: Response;
  try {
    response = await fetch(urlOf(path, query), { ...init, credentials: "omit", cache: "no-store" });
  } catch {
    if (!init.signal?.aborted) lookOut();
    throw new ApiError(0, AWAY);
  }
  if (isAway.value) {
    isAway.value = false;
    returns.value++;
  }
  if (response.ok) return response;
  const problem = (await response.json().catch(() => ({}))) as { title?: string; detail?: string };
  const text = problem.detail ?? problem.title ?? `The relay answered ${response.status}`;
  if (response.status === 401 && path !== "me") {
    if (token !== "") signedOutBy.value = UNKNOWN_TOKEN;
    forget();
    me.value = null;
  }
  throw new ApiError(response.status, text);
}

/** Asks until the relay answers: whatever page is open, and also if nothing on it asks by itself. */
function lookOut(): void {
  if (isAway.value) return;
  isAway.value = true;
  const again = () => {
    if (isAway.value) void get("me").catch(() => {});
    if (isAway.value) setTimeout(again, AGAIN_MS);
  };
  setTimeout(again, AGAIN_MS);
}

export async function get<T>(path: string, query?: Query): Promise<T> {
  return (await (await ask(path, { headers: headers() }, query)).json()) as T;
}

export async function send<T>(
  method: "POST" | "PUT" | "DELETE",
  path: string,
  body?: object,
  query?: Query,
): Promise<T> {
  const init =
    method === "DELETE"
      ? { method, headers: headers() }
      : { method, headers: headers({ "Content-Type": "application/json" }), body: JSON.stringify(body ?? {}) };
  const text = await (await ask(path, init, query)).text();
  return (text === "" ? undefined : JSON.parse(text)) as T;
}

export interface ServerEvent {
  readonly event: string;
  readonly data: unknown;
}

const AGAIN_MS = 2_000;

/**
 * Reads server-sent events until the function that it returns is called. EventSource cannot send a token. A stream that
 * breaks is taken up where it broke. `began`: a new stream begins, and what came before comes again.
 */
export function listen(path: string, query: Query, heard: (event: ServerEvent) => void, began: () => void): () => void {
  const stop = new AbortController();
  let lastId = "";
  const once = async () => {
    const more: Record<string, string> = lastId === "" ? {} : { "Last-Event-ID": lastId };
    const response = await ask(
      path,
      { headers: headers({ Accept: "text/event-stream", ...more }), signal: stop.signal },
      query,
    );
    deaf.value = "";
    if (lastId === "") began();
    const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
    const parser = new EventParser((id, event, data) => {
      lastId = id || lastId;
      heard({ event, data: data === "" ? {} : JSON.parse(data) });
    });
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      parser.take(value);
    }
  };
  void (async () => {
    while (!stop.signal.aborted) {
      await once().catch((error: unknown) => {
        if (!(error instanceof ApiError && error.status > 0)) return;
        lastId = "";
        deaf.value = `Nothing is heard live: ${error.message}`;
      });
      if (!stop.signal.aborted) await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
    }
  })();
  return () => {
    stop.abort();
    deaf.value = "";
  };
}

/** Cuts a text/event-stream into its events (HTML standard, section 9.2). */
export class EventParser {
  private readonly heard: (id: string, event: string, data: string) => void;
  private rest = "";
  private id = "";
  private event = "";
  private data: string[] = [];

  constructor(heard: (id: string, event: string, data: string) => void) {
    this.heard = heard;
  }

  take(text: string): void {
    const lines = (this.rest + text).split(/\r\n|\n/);
    this.rest = lines.pop()!;
    for (const line of lines) this.line(line);
  }

  private line(line: string): void {
    if (line === "") {
      if (this.data.length > 0) this.heard(this.id, this.event || "message", this.data.join("\n"));
      this.event = "";
      this.data = [];
      return;
    }
    const colon = line.indexOf(":");
    if (colon === 0) return;
    const name = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (name === "id") this.id = value;
    else if (name === "event") this.event = value;
    else if (name === "data") this.data.push(value);
  }
}
