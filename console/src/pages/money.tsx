import { useSignal } from "@preact/signals";
import type { RefusedCharge } from "../../../src/charging/billing/refused-charge.ts";
import { get, may, send } from "../api.ts";
import { dayAndTime, duration } from "../format.ts";
import { address, route, setQuery } from "../router.ts";
import { Act, Field, Notice, Rows, textOf, useAsked } from "../ui.tsx";

interface Bill {
  readonly user: string;
  readonly month: string;
  readonly detailed: boolean;
  readonly services: readonly {
    readonly service: string;
    readonly title?: string;
    readonly sessions: readonly {
      readonly session: string;
      readonly appServer: string;
      readonly at: number;
      readonly time?: { readonly durationMs: number; readonly amount: string; readonly currency: string };
      readonly items: readonly {
        readonly id: string;
        readonly item: string;
        readonly quantity: string;
        readonly unitPrice: string;
        readonly amount: string;
        readonly currency: string;
      }[];
    }[];
    readonly corrections: readonly {
      readonly id: string;
      readonly at: number;
      readonly reason: string;
      readonly amount: string;
      readonly currency: string;
    }[];
  }[];
  readonly totals: readonly {
    readonly currency: string;
    readonly amount: string;
    readonly tax?: string;
    readonly due: string;
  }[];
}

interface Settlement {
  readonly appServer: string;
  readonly services: readonly {
    readonly service: string;
    readonly currency: string;
    readonly sessions: number;
    readonly durationMs: number;
    readonly charges: number;
    readonly part: string;
    readonly percentFee: string;
  }[];
  readonly totals: readonly {
    readonly currency: string;
    readonly part: string;
    readonly percentFee: string;
    readonly sessionFee: string;
    readonly due: string;
  }[];
}

const VIEWS = ["bill", "settlement", "letters"] as const;
const NAMES = { bill: "bills", settlement: "settlements", letters: "refused and set aside" };
const thisMonth = () => new Date().toISOString().slice(0, 7);

/** Bills of users, what app servers are owed, and what could not be billed. */
export default function Money() {
  const { query } = route.value;
  const view = VIEWS.find((one) => one === query.get("view")) ?? "bill";
  if (!may("see-money"))
    return (
      <>
        <h1>Money</h1>
        <Notice>Seeing money takes a token of a biller or an operator.</Notice>
      </>
    );
  return (
    <>
      <div class="bar">
        <h1>Money</h1>
        <nav class="tabs" aria-label="What is shown of money">
          {VIEWS.map((one) => (
            <a key={one} href={address("money", "", { view: one })} aria-current={one === view ? "page" : undefined}>
              {NAMES[one]}
            </a>
          ))}
        </nav>
      </div>
      {view === "bill" && <Bills />}
      {view === "settlement" && <Settlements />}
      {view === "letters" && <RefusedCharges />}
      {view === "letters" && <Letters />}
    </>
  );
}

function Bills() {
  const { query } = route.value;
  const user = query.get("user") ?? "";
  const month = query.get("month") || thisMonth();
  const users = useAsked<{ users: readonly { id: string }[] }>("users", { most: 200 });
  const { data: bill, error } = useAsked<Bill>(
    user === "" ? undefined : `bills/${encodeURIComponent(user)}`,
    { month },
    5_000,
  );
  return (
    <>
      <form class="filters" onSubmit={(event) => event.preventDefault()}>
        <Field label="User" value={user} change={(to) => setQuery({ user: to })} />
        <Field label="Month (UTC)" value={month} type="month" change={(to) => setQuery({ month: to })} />
      </form>
      {user === "" && (
        <p class="hits">
          <Names
            asks="Whose bill?"
            of={users.data?.users}
            error={users.error}
            none="No user is registered."
            to={(id) => address("money", "", { user: id })}
          />
        </p>
      )}
      {user !== "" && error && <Notice bad>{error}</Notice>}
      {user !== "" && !error && !bill && <p class="empty">The relay is asked.</p>}
      {user !== "" && bill && <BillView bill={bill} />}
    </>
  );
}

/** Names to choose from, as far as there is room for them. */
function Names(props: {
  readonly asks: string;
  readonly of: readonly { readonly id: string }[] | undefined;
  readonly error: string;
  readonly none: string;
  readonly to: (id: string) => string;
}) {
  const { asks, of, error, none, to } = props;
  if (!of) return <>{error || "The relay is asked."}</>;
  if (of.length === 0) return <>{none}</>;
  return (
    <>
      {asks}{" "}
      {of.slice(0, MOST_NAMES).map(({ id }) => (
        <a key={id} href={to(id)}>
          {id}
        </a>
      ))}
      {of.length > MOST_NAMES && " There are others: write the name above."}
    </>
  );
}

const MOST_NAMES = 40;

function BillView({ bill }: { readonly bill: Bill }) {
  const lines = bill.services.flatMap(({ service, title, sessions, corrections }) => [
    ...sessions.flatMap(({ session, appServer, at, time, items }) => [
      ...(time
        ? [
            {
              id: `${session} time`,
              at,
              session,
              service: title ?? service,
              appServer,
              what: "time",
              much: duration(time.durationMs),
              amount: time.currency ? `${time.amount} ${time.currency}` : "free",
            },
          ]
        : []),
      ...items.map(({ id, item, quantity, unitPrice, amount, currency }) => ({
        id,
        at,
        session,
        service: title ?? service,
        appServer,
        what: item,
        much: `${quantity} × ${unitPrice}`,
        amount: `${amount} ${currency}`,
      })),
    ]),
    ...corrections.map(({ id, at, reason, amount, currency }) => ({
      id,
      at,
      session: "",
      service: title ?? service,
      appServer: "",
      what: `correction: ${reason}`,
      much: "",
      amount: `${amount} ${currency}`,
    })),
  ]);
  return (
    <section aria-label={`Bill of ${bill.user}`}>
      <h2>
        Bill of {bill.user}, {bill.month}
      </h2>
      {!bill.detailed && <Notice>Too many lines to list: these are the sums.</Notice>}
      <Rows
        rows={lines}
        columns={[
          {
            name: "At",
            cell: ({ at, session }) =>
              session ? <a href={address("call", session)}>{dayAndTime(at)}</a> : dayAndTime(at),
          },
          { name: "Service", cell: ({ service }) => service },
          { name: "App server", cell: ({ appServer }) => appServer },
          { name: "What", cell: ({ what }) => what },
          { name: "How much", cell: ({ much }) => much, number: true },
          { name: "Amount", cell: ({ amount }) => amount, number: true },
        ]}
        idOf={({ id }) => id}
        caption={`Bill of ${bill.user}`}
        empty="Nothing to pay."
      />
      <dl class="figures">
        {bill.totals.map(({ currency, due, tax }) => (
          <div key={currency}>
            <dt>due</dt>
            <dd>
              {due} {currency}
              {tax && <small>with {tax} of tax</small>}
            </dd>
          </div>
        ))}
      </dl>
    </section>
  );
}

function Settlements() {
  const { query } = route.value;
  const appServer = query.get("appServer") ?? "";
  const month = query.get("month") || thisMonth();
  const servers = useAsked<{ appServers: readonly { id: string }[] }>("app-servers");
  const { data, error } = useAsked<Settlement>(
    appServer === "" ? undefined : `settlements/${encodeURIComponent(appServer)}`,
    { month },
    5_000,
  );
  return (
    <>
      <form class="filters" onSubmit={(event) => event.preventDefault()}>
        <Field label="App server" value={appServer} change={(to) => setQuery({ appServer: to })} />
        <Field label="Month (UTC)" value={month} type="month" change={(to) => setQuery({ month: to })} />
      </form>
      {appServer === "" && (
        <p class="hits">
          <Names
            asks="Of whom?"
            of={servers.data?.appServers}
            error={servers.error}
            none="No app server is registered."
            to={(id) => address("money", "", { view: "settlement", appServer: id })}
          />
        </p>
      )}
      {appServer !== "" && error && <Notice bad>{error}</Notice>}
      {appServer !== "" && !error && !data && <p class="empty">The relay is asked.</p>}
      {appServer !== "" && data && (
        <section aria-label={`Settlement with ${data.appServer}`}>
          <h2>
            Owed to {data.appServer}, {month}
          </h2>
          <Rows
            rows={data.services}
            columns={[
              { name: "Service", cell: ({ service }) => service },
              { name: "Sessions", cell: ({ sessions }) => sessions, number: true },
              { name: "Time", cell: ({ durationMs }) => duration(durationMs), number: true },
              { name: "Charges", cell: ({ charges }) => charges, number: true },
              { name: "Its part", cell: ({ part, currency }) => `${part} ${currency}`, number: true },
              { name: "Fee", cell: ({ percentFee, currency }) => `${percentFee} ${currency}`, number: true },
            ]}
            idOf={(row) => JSON.stringify(row)}
            caption="Settlement by service"
            empty="Nothing was charged for it in this month."
          />
          <dl class="figures">
            {data.totals.map(({ currency, due }) => (
              <div key={currency}>
                <dt>due</dt>
                <dd>
                  {due} {currency}
                </dd>
              </div>
            ))}
          </dl>
        </section>
      )}
    </>
  );
}

interface Letter {
  readonly id: string;
  readonly at: number;
  readonly reason: string;
  /** JSON text. */
  readonly event: string;
  readonly untrusted?: true;
}

function RefusedCharges() {
  const { data, error } = useAsked<{ refused: readonly RefusedCharge[] }>("refused-charges", { most: 200 }, 5_000);
  return (
    <section aria-label="Refused">
      <h2>Refused charges</h2>
      <p class="about">
        App servers asked for these and did not get them: they heard why, and nothing of it is on a bill. What was right
        after all can be put on the bill as a correction (tollgate correct).
      </p>
      <Rows
        rows={data?.refused}
        error={error}
        columns={[
          { name: "At", cell: ({ at, session }) => <a href={address("call", session)}>{dayAndTime(at)}</a> },
          { name: "User", cell: ({ user }) => <a href={address("calls", "", { user })}>{user}</a> },
          { name: "Service", cell: ({ service }) => service },
          { name: "App server", cell: ({ appServer }) => appServer },
          { name: "Charge", cell: ({ charge }) => charge ?? "" },
          { name: "Why", cell: ({ reason }) => reason },
        ]}
        idOf={({ id }) => id}
        caption="Refused charges, the newest first"
        empty="No charge was refused."
      />
    </section>
  );
}

function Letters() {
  const { data, error, again } = useAsked<{ deadLetters: readonly Letter[] }>("dead-letters", {}, 5_000);
  const open = useSignal<{ readonly id: string; readonly text: string } | undefined>(undefined);
  const failed = useSignal("");
  const show = async (id: string) => {
    try {
      const { event } = await get<Letter>(`dead-letters/${encodeURIComponent(id)}`);
      open.value = { id, text: indented(event) };
      failed.value = "";
    } catch (fault) {
      failed.value = textOf(fault);
    }
  };
  return (
    <section aria-label="Set aside">
      <h2>Could not be billed</h2>
      <p class="about">
        Charging events that billing could not take. They wait here until somebody mends them, has them billed again, or
        drops them.
      </p>
      <Rows
        rows={data?.deadLetters}
        error={error || failed.value}
        columns={[
          { name: "At", cell: ({ at }) => dayAndTime(at) },
          {
            name: "Event",
            cell: ({ id }) => (
              <button type="button" class="link" onClick={() => void show(id)}>
                {id}
              </button>
            ),
          },
          { name: "Why", cell: ({ reason }) => reason },
          {
            name: "Repair",
            cell: ({ id, untrusted }) => (
              <>
                <Act
                  right="bill"
                  {...(untrusted && { sure: "Bill it, though no relay has signed it" })}
                  about={id}
                  act={() =>
                    send(
                      "POST",
                      `dead-letters/${encodeURIComponent(id)}/replay`,
                      untrusted ? { unsigned: true } : undefined,
                    )
                  }
                  done={again}
                >
                  Bill again
                </Act>{" "}
                <Act
                  right="bill"
                  sure="Drop it for good"
                  about={id}
                  act={() => send("DELETE", `dead-letters/${encodeURIComponent(id)}`)}
                  done={again}
                >
                  Drop
                </Act>
              </>
            ),
          },
        ]}
        idOf={({ id }) => id}
        caption="Events that could not be billed"
        empty="Everything is billed."
      />
      {open.value && (
        <form class="letter" onSubmit={(event) => event.preventDefault()}>
          <label class="field wide">
            <span>{open.value.id}</span>
            <textarea
              rows={16}
              spellcheck={false}
              value={open.value.text}
              onInput={(event) => {
                open.value = { id: open.value!.id, text: event.currentTarget.value };
              }}
            />
          </label>
          <Act
            right="bill"
            act={async () => {
              const { id, text } = open.value!;
              await send("PUT", `dead-letters/${encodeURIComponent(id)}`, { event: text });
              open.value = undefined;
            }}
            done={again}
          >
            Keep the mended event
          </Act>
        </form>
      )}
    </section>
  );
}

/** JSON text for people to change; other text as it is. */
function indented(text: string): string {
  try {
    return JSON.stringify(JSON.parse(text), undefined, 2);
  } catch {
    return text;
  }
}
