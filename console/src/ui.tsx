import { useSignal } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { ApiError, get, may, type Right, returns } from "./api.ts";

/** What went wrong, as text. */
export const textOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

export function Notice({ children, bad = false }: { readonly children: ComponentChildren; readonly bad?: boolean }) {
  return (
    <p class={bad ? "notice bad" : "notice"} role={bad ? "alert" : "status"}>
      {bad && <b>Not done: </b>}
      {children}
    </p>
  );
}

/**
 * What the relay says at `path`, asked for again every `everyMs` while the page is in front. Returns a function that
 * asks at once, too. `data`: the answer to this very question; `last`: while there is none, that to another filter.
 */
export function useAsked<T>(
  path: string | undefined,
  query: Readonly<Record<string, string | number | undefined>> = {},
  everyMs = 0,
) {
  const said = useSignal<{ readonly of: string; readonly path: string; readonly data: T } | undefined>(undefined);
  const refused = useSignal({ of: "", text: "" });
  const round = useSignal(0);
  const of = `${path} ${JSON.stringify(query)}`;
  useEffect(() => {
    if (path === undefined) return;
    let over = false;
    let timer: ReturnType<typeof setTimeout> | undefined;
    let isFirst = true;
    const ask = async () => {
      if (isFirst || !document.hidden) {
        isFirst = false;
        try {
          const data = await get<T>(path, query);
          if (over) return;
          said.value = { of, path, data };
          refused.value = { of: "", text: "" };
        } catch (fault) {
          if (over) return;
          refused.value = { of, text: textOf(fault) };
          if (fault instanceof ApiError && (fault.status === 403 || fault.status === 404)) return;
        }
      }
      if (everyMs > 0 && !over) timer = setTimeout(ask, everyMs);
    };
    void ask();
    return () => {
      over = true;
      clearTimeout(timer);
    };
  }, [of, round.value, returns.value]);
  const { value } = said;
  return {
    data: value?.of === of ? value.data : undefined,
    last: value?.path === path ? value?.data : undefined,
    error: refused.value.of === of ? refused.value.text : "",
    again: () => {
      round.value++;
    },
  };
}

/** A button that changes something. `right`: what it takes; it is not there for others. `sure`: asks first. */
export function Act(props: {
  readonly children: string;
  readonly right: Right;
  readonly act: () => Promise<unknown>;
  readonly done?: (said: unknown) => void;
  readonly sure?: string;
  /** Of what, for those who hear the button alone. */
  readonly about?: string;
  readonly kind?: string;
}) {
  const { children, right, act, done, sure, about, kind } = props;
  const busy = useSignal(false);
  const asks = useSignal(false);
  const failed = useSignal("");
  if (!may(right)) return null;
  const text = asks.value && sure ? sure : children;
  const go = async () => {
    if (busy.value) return;
    if (sure && !asks.value) {
      asks.value = true;
      return;
    }
    asks.value = false;
    busy.value = true;
    failed.value = "";
    try {
      const said = await act(); // by itself: without `done`, its arguments would not be worked out
      done?.(said);
    } catch (error) {
      failed.value = textOf(error);
    }
    busy.value = false;
  };
  return (
    <span class="act">
      <button
        type="button"
        class={asks.value ? "danger" : kind}
        aria-label={about && `${text}: ${about}`}
        aria-disabled={busy.value} // a button that is disabled would lose the focus
        onClick={go}
      >
        {text}
      </button>
      {asks.value && (
        <button
          type="button"
          onClick={() => {
            asks.value = false;
          }}
        >
          No
        </button>
      )}
      {failed.value && (
        <span class="bad-text" role="alert">
          {failed.value}
        </span>
      )}
    </span>
  );
}

export interface Column<T> {
  readonly name: string;
  readonly cell: (row: T) => ComponentChildren;
  readonly number?: boolean;
}

/** A table of any number of rows, of which only those in sight are in the page. No `rows`: they are not known yet. */
export function Rows<T>(props: {
  readonly rows: readonly T[] | undefined;
  /** Why the relay does not say them. */
  readonly error?: string;
  readonly columns: readonly Column<T>[];
  readonly idOf: (row: T) => string;
  readonly caption: string;
  readonly empty: string;
  readonly tall?: boolean;
}) {
  const { rows, error = "", columns, idOf, caption, empty, tall = false } = props;
  const top = useSignal(0);
  const box = useRef<HTMLDivElement>(null);
  if (error !== "" && !rows?.length) return <Notice bad>{error}</Notice>;
  if (!rows) return <p class="empty">The relay is asked.</p>;
  if (rows.length === 0) return <p class="empty">{empty}</p>;
  const isVirtual = rows.length > 100;
  const first = isVirtual ? Math.max(0, Math.floor(top.value / ROW) - 10) : 0;
  const last = isVirtual
    ? Math.min(rows.length, first + Math.ceil((box.current?.clientHeight ?? 700) / ROW) + 20)
    : rows.length;
  const table = (
    <div
      class={tall ? "rows tall" : "rows"}
      ref={box}
      tabIndex={0}
      role="region"
      aria-label={`${caption}, the table`}
      onScroll={(event) => {
        top.value = Math.floor(event.currentTarget.scrollTop / ROW) * ROW;
      }}
    >
      <table aria-rowcount={rows.length + 1} class={isVirtual ? "virtual" : undefined}>
        <caption class="hidden">{caption}</caption>
        <thead>
          <tr>
            {columns.map(({ name, number }) => (
              <th key={name} scope="col" class={number ? "number" : undefined}>
                {name}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {first > 0 && (
            <tr class="space" style={{ height: `${first * ROW}px` }}>
              <td colSpan={columns.length} />
            </tr>
          )}
          {rows.slice(first, last).map((row, i) => (
            <tr key={idOf(row)} aria-rowindex={first + i + 2}>
              {columns.map(({ name, cell, number }) => (
                <td key={name} class={number ? "number" : undefined}>
                  {cell(row)}
                </td>
              ))}
            </tr>
          ))}
          {last < rows.length && (
            <tr class="space" style={{ height: `${(rows.length - last) * ROW}px` }}>
              <td colSpan={columns.length} />
            </tr>
          )}
        </tbody>
      </table>
    </div>
  );
  if (error === "") return table;
  return (
    <>
      <Notice bad>{error}</Notice>
      {table}
    </>
  );
}

/** The height of a row in a table of many, as app.css has it. */
const ROW = 33;

/** A text that is sent on Enter, as part of a form. */
export function Field(props: {
  readonly label: string;
  readonly value: string;
  readonly change: (value: string) => void;
  readonly type?: "text" | "search" | "month";
  readonly hint?: string;
  readonly required?: boolean;
}) {
  const { label, value, change, type = "text", hint, required = false } = props;
  return (
    <label class="field">
      <span>{label}</span>
      <input
        type={type as "text"}
        value={value}
        placeholder={hint}
        required={required}
        autocomplete="off"
        spellcheck={false}
        onInput={(event) => change(event.currentTarget.value)}
      />
    </label>
  );
}
