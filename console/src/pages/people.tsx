import { useSignal } from "@preact/signals";
import { may, send } from "../api.ts";
import { count, duration } from "../format.ts";
import { address, route, setQuery } from "../router.ts";
import { Act, type Column, Field, Notice, Rows, useAsked } from "../ui.tsx";

interface UserRow {
  readonly id: string;
  readonly realm: string;
  readonly name?: string;
  readonly blocked: boolean;
  readonly limits?: Readonly<Record<string, unknown>>;
  readonly prepaid?: string;
}

interface LockOut {
  readonly user?: string;
  readonly source: string;
  readonly failures: number;
  readonly waitMs: number;
}

const EVERY_MS = 5_000;

/** Users, what they may, and who has to wait after failed sign-ins. */
export default function People() {
  const { id } = route.value;
  return id === "" ? <Everybody /> : <Person id={id} />;
}

function Everybody() {
  const { query } = route.value;
  const from = query.get("from") ?? "";
  const users = useAsked<{ users: readonly UserRow[]; next?: string }>("users", { after: from, most: 500 }, EVERY_MS);
  const words = (query.get("q") ?? "").toLowerCase();
  const rows = (users.data?.users ?? []).filter(({ id, name = "" }) => `${id} ${name}`.toLowerCase().includes(words));
  const columns: Column<UserRow>[] = [
    { name: "User", cell: (user) => <a href={address("people", user.id)}>{user.id}</a> },
    { name: "Name", cell: (user) => user.name ?? "" },
    { name: "Domain", cell: (user) => user.realm },
    { name: "Pays", cell: (user) => (user.prepaid ? `before, ${user.prepaid}` : "after") },
    { name: "Limits", cell: (user) => limitsText(user.limits) },
    { name: "Standing", cell: (user) => (user.blocked ? <b class="bad-text">✕ blocked</b> : "may call") },
  ];
  if (may("operate")) columns.push({ name: "Change", cell: (user) => <BlockButton user={user} done={users.again} /> });
  return (
    <>
      <div class="bar">
        <h1>People</h1>
        <form role="search" class="search" onSubmit={(event) => event.preventDefault()}>
          <Field label="Find a user" type="search" value={query.get("q") ?? ""} change={(q) => setQuery({ q })} />
        </form>
      </div>
      <p class="sum" role="status">
        {users.data ? `${count(rows.length)} of ${count(users.data.users.length)} on this page` : ""}
      </p>
      <Rows
        tall
        rows={users.data && rows}
        error={users.error}
        columns={columns}
        idOf={({ id }) => id}
        caption="Users"
        empty={
          words === ""
            ? "No user is registered."
            : `Nobody on this page is called like this.${users.data?.next ? " There are further users." : ""}`
        }
      />
      <p>
        {from && <a href={address("people")}>From the first</a>}{" "}
        {users.data?.next && <a href={address("people", "", { from: users.data.next })}>Further users</a>}
      </p>
      <LockOuts />
    </>
  );
}

const limitsText = (limits: UserRow["limits"]): string =>
  Object.entries(limits ?? {})
    .map(([name, value]) => `${name} ${typeof value === "object" ? JSON.stringify(value) : value}`)
    .join(", ");

function BlockButton({ user, done }: { readonly user: UserRow; readonly done: () => void }) {
  const path = `users/${encodeURIComponent(user.id)}`;
  return user.blocked ? (
    <Act right="operate" about={user.id} act={() => send("POST", `${path}/unblock`)} done={done}>
      Unblock
    </Act>
  ) : (
    <Act
      right="operate"
      sure="Block, and end their sessions"
      about={user.id}
      act={() => send("POST", `${path}/block`, { end: true })}
      done={done}
    >
      Block
    </Act>
  );
}

function LockOuts() {
  const { data, error, again } = useAsked<{ lockouts: readonly LockOut[] }>("lockouts", {}, EVERY_MS);
  return (
    <section aria-label="Lock-outs">
      <h2>Lock-outs</h2>
      <Rows
        rows={data?.lockouts}
        error={error}
        columns={[
          { name: "User", cell: ({ user }) => user ?? "any" },
          { name: "From", cell: ({ source }) => <code>{source}</code> },
          { name: "Failed", cell: ({ failures }) => count(failures), number: true },
          { name: "Has to wait", cell: ({ waitMs }) => duration(waitMs), number: true },
          {
            name: "Change",
            cell: ({ user, source }) => (
              <Act
                right="operate"
                about={user ?? source}
                act={() => send("POST", "lockouts/lift", { ...(user !== undefined && { user }), source })}
                done={again}
              >
                Lift
              </Act>
            ),
          },
        ]}
        idOf={({ user, source }) => `${user} ${source}`}
        caption="Lock-outs"
        empty="Nobody has to wait after failed sign-ins."
      />
    </section>
  );
}

interface Credit {
  readonly user: string;
  readonly currency: string;
  readonly balance: string;
  readonly available: string;
  readonly creditLimit?: string;
  readonly perDay?: string;
  readonly held?: readonly Readonly<Record<string, unknown>>[];
  readonly ledger?: readonly Readonly<Record<string, unknown>>[];
}

function Person({ id }: { readonly id: string }) {
  const credit = useAsked<Credit>(may("see-money") ? `credit/${encodeURIComponent(id)}` : undefined, {}, EVERY_MS);
  const amount = useSignal("10.00");
  const said = useSignal("");
  return (
    <>
      <div class="bar">
        <h1>{id}</h1>
        <a href={address("calls", "", { user: id })}>their calls</a>
        <a href={address("money", "", { user: id })}>their bill</a>
        <a href={address("people")}>all people</a>
      </div>
      <section aria-label="Balance">
        <h2>Balance</h2>
        {!may("see-money") && <p class="empty">Seeing money takes a token that may.</p>}
        {may("see-money") && !credit.data && <p class="empty">{credit.error || "The relay is asked."}</p>}
        {credit.data && (
          <>
            <dl class="figures">
              <div>
                <dt>balance</dt>
                <dd>
                  {credit.data.balance} {credit.data.currency}
                </dd>
              </div>
              <div>
                <dt>available</dt>
                <dd>
                  {credit.data.available} {credit.data.currency}
                </dd>
              </div>
              {credit.data.creditLimit && (
                <div>
                  <dt>credit limit</dt>
                  <dd>
                    {credit.data.creditLimit} {credit.data.currency}
                  </dd>
                </div>
              )}
            </dl>
            {may("bill") && (
              <div class="filters">
                <Field
                  label={`Top up, ${credit.data.currency}`}
                  value={amount.value}
                  change={(value) => {
                    amount.value = value;
                  }}
                />
                <Act
                  right="bill"
                  sure={`Top up ${amount.value} ${credit.data.currency}`}
                  act={() =>
                    send("POST", `credit/${encodeURIComponent(id)}/topup`, {
                      id: crypto.randomUUID(),
                      amount: amount.value,
                    })
                  }
                  done={() => {
                    said.value = "It is on the balance.";
                    credit.again();
                  }}
                >
                  Top up
                </Act>
                {said.value && <Notice>{said.value}</Notice>}
              </div>
            )}
            <Plain title="Held" rows={credit.data.held ?? []} />
            <Plain title="Ledger" rows={credit.data.ledger ?? []} />
          </>
        )}
      </section>
    </>
  );
}

/** Rows of data as they come, one column for each field. */
export function Plain({
  title,
  rows,
}: {
  readonly title: string;
  readonly rows: readonly Readonly<Record<string, unknown>>[];
}) {
  if (rows.length === 0) return null;
  const names = [...new Set(rows.flatMap((row) => Object.keys(row)))];
  const text = (value: unknown) =>
    value === undefined ? "" : typeof value === "object" ? JSON.stringify(value) : String(value);
  return (
    <section aria-label={title}>
      <h3>{title}</h3>
      <Rows
        rows={rows}
        columns={names.map((name) => ({ name, cell: (row: Readonly<Record<string, unknown>>) => text(row[name]) }))}
        idOf={(row) => JSON.stringify(row)}
        caption={title}
        empty=""
      />
    </section>
  );
}
