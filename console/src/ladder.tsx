import { useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import type { Item } from "./call-model.ts";

import { after, duration } from "./format.ts";

/** So long nothing happened: the ladder says how long, and leaves no room for it. */
const IDLE_MS = 1_500;
/** The height of the names of the lanes. */
const HEAD_PX = 30;
const SHOWN = ["message", "state", "charge", "timer"] as const;
const NAMES: Readonly<Record<string, string>> = {
  message: "messages",
  state: "states",
  charge: "charges",
  timer: "timers",
};

/**
 * The SIP ladder of all legs, as a list: arrow keys go up and down, Enter opens a message. `position`: how many items
 * have happened; those after it are pale.
 */
export function Ladder(props: {
  readonly items: readonly Item[];
  readonly lanes: readonly string[];
  readonly position: number;
  readonly go: (position: number) => void;
  readonly start: number;
}) {
  const { items, lanes, position, go, start } = props;
  const shown = useSignal<readonly string[]>(SHOWN);
  const open = useSignal<ReadonlySet<number>>(new Set());
  const list = useRef<HTMLOListElement>(null);
  const box = useRef<HTMLDivElement>(null);
  const rows = items
    .map((item, i) => ({ item, i }))
    .filter(({ item }) => item.kind === "end" || shown.value.includes(item.kind));
  const toggle = (i: number) => {
    const next = new Set(open.value);
    if (!next.delete(i)) next.add(i);
    open.value = next;
  };
  const onKeyDown = (event: KeyboardEvent) => {
    const all = [...(list.current?.querySelectorAll<HTMLButtonElement>("button.row") ?? [])];
    const at = all.indexOf(document.activeElement as HTMLButtonElement);
    const step = { ArrowDown: 1, ArrowUp: -1, Home: -all.length, End: all.length }[event.key];
    if (step === undefined || at < 0) return;
    event.preventDefault();
    all[Math.max(0, Math.min(all.length - 1, at + step))]?.focus();
  };
  // Whatever moves the time line, the step is in sight.
  useEffect(() => {
    const row = list.current?.querySelector("button.at");
    const scroller = box.current;
    if (!row || !scroller) return;
    const [inner, outer] = [row.getBoundingClientRect(), scroller.getBoundingClientRect()];
    if (inner.bottom > outer.bottom) scroller.scrollTop += inner.bottom - outer.bottom;
    else if (inner.top < outer.top + HEAD_PX) scroller.scrollTop -= outer.top + HEAD_PX - inner.top;
  }, [position, items.length]);
  const columns = { gridTemplateColumns: `5.5rem repeat(${lanes.length}, minmax(5.5rem, 1fr))` };
  let before = rows[0]?.item.at ?? start;
  return (
    <section class="ladder" aria-label="SIP ladder">
      <div class="bar">
        <h2>Ladder</h2>
        <fieldset class="choices">
          <legend class="hidden">Shown in the ladder</legend>
          {SHOWN.map((kind) => (
            <label key={kind}>
              <input
                type="checkbox"
                checked={shown.value.includes(kind)}
                onChange={() => {
                  shown.value = shown.value.includes(kind)
                    ? shown.value.filter((one) => one !== kind)
                    : [...shown.value, kind];
                }}
              />
              {NAMES[kind]}
            </label>
          ))}
        </fieldset>
      </div>
      <div class="scroll" ref={box}>
        <div class="lanes" style={columns} aria-hidden="true">
          <span />
          {lanes.map((lane) => (
            <span key={lane} class="lane">
              {lane}
            </span>
          ))}
        </div>
        <ol ref={list} onKeyDown={onKeyDown}>
          {rows.map(({ item, i }, n) => {
            const idle = item.at - before;
            before = item.at;
            const isOpen = open.value.has(i);
            const kinds = [
              "row",
              item.kind,
              item.kind === "message" && item.error && "error",
              i >= position && "later",
              i === position - 1 && "at",
            ];
            return (
              <li key={i}>
                {idle > IDLE_MS && <div class="idle">nothing for {duration(idle)}</div>}
                <button
                  type="button"
                  class={kinds.filter(Boolean).join(" ")}
                  style={columns}
                  tabIndex={
                    i === position - 1 ||
                    (position === 0 && n === 0) ||
                    (n === 0 && !rows.some((row) => row.i === position - 1))
                      ? 0
                      : -1
                  }
                  aria-expanded={item.kind === "message" ? isOpen : undefined}
                  aria-current={i === position - 1 ? "step" : undefined}
                  onClick={() => {
                    go(i + 1);
                    if (item.kind === "message") toggle(i);
                  }}
                >
                  <span class="when">{after(item.at - start)}</span>
                  {item.kind === "message" ? (
                    <MessageArrow
                      error={item.error === true}
                      parties={`${item.from} to ${item.to}`}
                      from={lanes.indexOf(item.from)}
                      to={lanes.indexOf(item.to)}
                      label={item.label}
                    />
                  ) : (
                    <span class="note" style={{ gridColumn: `2 / span ${lanes.length}` }}>
                      <NoteText item={item} />
                    </span>
                  )}
                </button>
                {item.kind === "message" && isOpen && <Whole text={item.message} />}
              </li>
            );
          })}
        </ol>
      </div>
    </section>
  );
}

/** `INVITE sip:wine@portal.example (signed) (SDP)`: what it is, more of it, and what it carries. */
export function partsOf(label: string): {
  readonly what: string;
  readonly more: string;
  readonly carries: readonly string[];
} {
  const carries: string[] = [];
  const rest = label.replace(/ \(([^()]*)\)/g, (_, inside: string) => {
    carries.push(...inside.split(", ").map((one) => one.replace(/^application\/(?:vnd\.tollgate\.)?/, "")));
    return "";
  });
  const [first = "", ...others] = rest.split(" ");
  if (/^\d{3}$/.test(first)) return { what: rest, more: "", carries };
  return { what: first, more: others.join(" "), carries };
}

function MessageArrow(props: {
  readonly from: number;
  readonly to: number;
  readonly label: string;
  /** In words, for those who do not see the arrow. */
  readonly parties: string;
  readonly error: boolean;
}) {
  const { from, to, label, parties, error } = props;
  const first = Math.min(from, to);
  const span = Math.abs(to - from) + 1;
  const { what, more, carries } = partsOf(label);
  return (
    <span
      class={to > from ? "arrow right" : "arrow left"}
      style={{ gridColumn: `${first + 2} / span ${span}`, "--span": span }}
    >
      <span class="label">
        <span class="hidden">
          {error && "error, "}
          {`${parties}: `}
        </span>
        {what}
        {carries.map((one) => (
          <span key={one} class="carries">
            {one}
          </span>
        ))}
        {more && <span class="more">{more}</span>}
      </span>
      <span class="shaft" />
    </span>
  );
}

function NoteText({ item }: { readonly item: Item }) {
  switch (item.kind) {
    case "state":
      return (
        <>
          <b>{item.chart}</b> {item.event === "xstate.init" ? "begins" : item.event || "at once"}
          {item.from === item.to ? ` · stays ${item.to}` : ` · ${item.from === "" ? "" : `${item.from} → `}${item.to}`}
        </>
      );
    case "charge":
      return (
        <>
          <b>{item.type}</b> {item.text}
        </>
      );
    case "timer":
      return (
        <>
          <b>timer</b> {item.name}
        </>
      );
    case "end":
      return (
        <>
          <b>end</b> {item.text}
        </>
      );
    default:
      return null;
  }
}

/** A message as it was on the wire. It is text from a stranger: it is only ever shown as text. */
function Whole({ text }: { readonly text: string | undefined }) {
  if (text === undefined) return <p class="whole none">Its text is no longer kept: only what it was in short.</p>;
  const end = text.indexOf("\r\n\r\n");
  const head = end < 0 ? text : text.slice(0, end);
  const body = end < 0 ? "" : text.slice(end + 4);
  return (
    <div class="whole">
      <pre>{head}</pre>
      {body !== "" && <pre class="body">{body}</pre>}
    </div>
  );
}
