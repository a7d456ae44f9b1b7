import { useSignal } from "@preact/signals";
import { get, may, send } from "../api.ts";
import type { CallRow } from "../call-model.ts";
import { count, dayAndTime, duration } from "../format.ts";
import { address, route, setQuery } from "../router.ts";
import { Act, type Column, Field, Notice, Rows, textOf, useAsked } from "../ui.tsx";

/** Who calls, who failed and why. What is asked for is in the address. */
export default function Calls() {
  const { query } = route.value;
  const view = query.get("view") === "standing" ? "standing" : "all";
  const filter = (name: string) => query.get(name) ?? "";
  return (
    <>
      <div class="bar">
        <h1>Calls</h1>
        <nav class="tabs" aria-label="Which calls">
          <a href={address("calls", "", without(query, "view"))} aria-current={view === "all" ? "page" : undefined}>
            on record
          </a>
          <a
            href={address("calls", "", { ...without(query, "failed"), view: "standing" })}
            aria-current={view === "standing" ? "page" : undefined}
          >
            standing now
          </a>
        </nav>
      </div>
      <form role="search" class="filters" onSubmit={(event) => event.preventDefault()}>
        <Field label="User" value={filter("user")} change={(user) => setQuery({ user })} />
        <Field label="Service" value={filter("service")} change={(service) => setQuery({ service })} />
        {view === "all" ? (
          <>
            <Field label="Call-ID" value={filter("callId")} change={(callId) => setQuery({ callId })} />
            <Field label="Since" value={filter("since")} change={(since) => setQuery({ since })} hint="10m, 2h, 3d" />
            <label class="check">
              <input
                type="checkbox"
                checked={filter("failed") !== ""}
                onChange={(event) => setQuery({ failed: event.currentTarget.checked ? "true" : undefined })}
              />
              failed
            </label>
            <label class="check">
              <input
                type="checkbox"
                checked={filter("strangers") !== ""}
                onChange={(event) => setQuery({ strangers: event.currentTarget.checked ? "true" : undefined })}
              />
              strangers
            </label>
          </>
        ) : (
          <>
            <Field label="App server" value={filter("appServer")} change={(appServer) => setQuery({ appServer })} />
            <Field label="State" value={filter("state")} change={(state) => setQuery({ state })} />
            <Field label="Node" value={filter("node")} change={(node) => setQuery({ node })} />
          </>
        )}
      </form>
      {view === "all" ? <OnRecord /> : <Standing />}
    </>
  );
}

const without = (query: URLSearchParams, name: string): Record<string, string> =>
  Object.fromEntries([...query].filter(([one]) => one !== name));

const COLUMNS: readonly Column<CallRow>[] = [
  { name: "Began", cell: (call) => <a href={address("call", call.id)}>{dayAndTime(call.at)}</a> },
  { name: "User", cell: (call) => call.user ?? <i>stranger</i> },
  { name: "Asked for", cell: (call) => call.service ?? call.uri },
  { name: "App server", cell: (call) => call.asked?.map(({ appServer }) => appServer).join(", ") ?? "" },
  { name: "Answer", cell: (call) => <Outcome call={call} /> },
  { name: "Why", cell: (call) => call.why ?? "" },
  { name: "Ended by", cell: (call) => call.endedBy ?? "" },
  { name: "Lasted", cell: (call) => duration(call.wholeMs), number: true },
  { name: "Cost", cell: (call) => call.cost ?? "", number: true },
];

function Outcome({ call }: { readonly call: CallRow }) {
  const said = call.status === undefined ? "" : `${call.status} ${call.reason ?? ""}`;
  if (call.running) return <span class="live-text">● running {said}</span>;
  return call.failed ? <b class="bad-text">✕ {said}</b> : <span>{said || "no answer"}</span>;
}

const EVERY_MS = 3_000;

function OnRecord() {
  const { query } = route.value;
  const asked = Object.fromEntries(
    ["user", "callId", "since", "failed", "strangers"].map((name) => [name, query.get(name) ?? ""]),
  );
  const { last: data, error } = useAsked<{ calls: readonly CallRow[]; next?: string; missing?: readonly string[] }>(
    "calls",
    { ...asked, most: 200 },
    EVERY_MS,
  );
  const more = useSignal<{
    readonly of: string;
    readonly calls: readonly CallRow[];
    readonly next?: string | undefined;
  }>({ of: "", calls: [] });
  const of = JSON.stringify(asked);
  const older = more.value.of === of ? more.value : { of, calls: [], next: data?.next };
  const next = older.calls.length > 0 ? older.next : data?.next;
  const failed = useSignal("");
  const service = (query.get("service") ?? "").toLowerCase();
  const seen = new Set<string>();
  const all = [...(data?.calls ?? []), ...older.calls].filter(({ id, service: of = "", uri }) => {
    if (seen.has(id)) return false;
    seen.add(id);
    return service === "" || of.toLowerCase().includes(service) || uri.toLowerCase().includes(service);
  });
  const ask = async () => {
    try {
      const page = await get<{ calls: readonly CallRow[]; next?: string }>("calls", {
        ...asked,
        most: 500,
        cursor: next,
      });
      more.value = { of, calls: [...older.calls, ...page.calls], next: page.next };
      failed.value = "";
    } catch (fault) {
      failed.value = textOf(fault);
    }
  };
  return (
    <>
      <Missing nodes={data?.missing} what="Calls that run there are not listed." />
      <p class="sum" role="status">
        {data ? `${count(all.length)} ${all.length === 1 ? "call" : "calls"}${next ? ", and older ones" : ""}` : ""}
      </p>
      <Rows
        tall
        rows={data && all}
        error={error || failed.value}
        columns={COLUMNS}
        idOf={({ id }) => id}
        caption="Calls on record"
        empty={
          next
            ? "None of the calls that were looked through. There are older ones."
            : "No call is on record for this. Place one on the page Try it."
        }
      />
      {next && (
        <p>
          <button type="button" onClick={() => void ask()}>
            Older calls
          </button>
        </p>
      )}
    </>
  );
}

/** Nodes of the cluster that did not answer. */
function Missing({ nodes = [], what }: { readonly nodes?: readonly string[] | undefined; readonly what: string }) {
  if (nodes.length === 0) return null;
  return (
    <Notice>
      {nodes.length === 1 ? "Node" : "Nodes"} {nodes.join(", ")} did not answer. {what}
    </Notice>
  );
}

interface SessionRow {
  readonly id: string;
  readonly call: string;
  readonly user: string;
  readonly service: string;
  readonly appServer: string;
  readonly state: string;
  readonly startedAt?: number;
  readonly durationMs?: number;
  readonly node?: string;
}

function Standing() {
  const { query } = route.value;
  const { data, error, again } = useAsked<{ sessions: readonly SessionRow[]; missing?: readonly string[] }>(
    "sessions",
    {},
    EVERY_MS,
  );
  const wanted = ["user", "service", "appServer", "state", "node"]
    .map((name) => [name, (query.get(name) ?? "").toLowerCase()] as const)
    .filter(([, text]) => text !== "");
  const rows = (data?.sessions ?? []).filter((row) =>
    wanted.every(([name, text]) =>
      String(row[name as keyof SessionRow] ?? "")
        .toLowerCase()
        .includes(text),
    ),
  );
  const columns: Column<SessionRow>[] = [
    { name: "User", cell: (row) => <a href={address("call", row.id)}>{row.user}</a> },
    { name: "Service", cell: (row) => row.service },
    { name: "App server", cell: (row) => row.appServer },
    { name: "State", cell: (row) => row.state },
    { name: "Since", cell: (row) => (row.startedAt === undefined ? "" : dayAndTime(row.startedAt)) },
    { name: "Lasts", cell: (row) => duration(row.durationMs), number: true },
  ];
  if (rows.some(({ node }) => node)) columns.push({ name: "Node", cell: (row) => row.node ?? "" });
  if (may("operate"))
    columns.push({
      name: "End",
      cell: (row) => (
        <Act
          right="operate"
          sure="End it"
          about={`${row.user} with ${row.appServer}`}
          act={() => send("DELETE", `sessions/${encodeURIComponent(row.id)}`)}
          done={again}
        >
          End
        </Act>
      ),
    });
  return (
    <>
      <Missing nodes={data?.missing} what="The sessions there are not listed." />
      <p class="sum" role="status">
        {data ? `${count(rows.length)} of ${count(data.sessions.length)} standing` : ""}
      </p>
      <Rows
        tall
        rows={data && rows}
        error={error}
        columns={columns}
        idOf={({ id }) => id}
        caption="Sessions that stand now"
        empty={data?.sessions.length ? "No session that stands is like this." : "Nobody is in a session."}
      />
    </>
  );
}
