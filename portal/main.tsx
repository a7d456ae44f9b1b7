import { batch, signal } from "@preact/signals";
import { render } from "preact";
import { type Client, type ClientSession, createClient, SipError } from "../src/sdk/browser.ts";

/*
 * A portal's page, as an operator would have one: who is there signs in, opens services, changes, moves on, hangs up.
 * It speaks SIP with the relay over WebSocket, by tollgate/client. The demo serves it.
 */

/** What the demo says of itself. */
interface Settings {
  readonly relay: readonly string[];
  readonly domain: string;
  readonly user: string;
  readonly password: string;
  readonly services: readonly { readonly id: string; readonly title: string }[];
}

interface Standing {
  readonly number: number;
  readonly session: ClientSession;
  readonly since: number;
  /** Changes when the session does. */
  readonly service: string;
  readonly access: string | undefined;
  /** Missing: it goes on. */
  readonly ended?: string;
}

const BILL_MS = 1_000;

const settings = signal<Settings | undefined>(undefined);
const client = signal<Client | undefined>(undefined);
const sessions = signal<readonly Standing[]>([]);
const busy = signal("");
const fault = signal("");
const bill = signal("");
/** What sessions have cost so far: their time and what was sold in them. */
const running = signal<readonly Running[]>([]);

interface Running {
  readonly id: string;
  readonly service: string;
  readonly durationMs: number;
  readonly cost: string;
}
const now = signal(performance.now());
let last = 0;

const titleOf = (id: string): string => settings.value?.services.find((service) => service.id === id)?.title ?? id;

const seconds = (ms: number): string => {
  const all = Math.max(0, Math.floor(ms / 1000));
  return `${Math.floor(all / 60)}:${String(all % 60).padStart(2, "0")}`;
};

/** Does one thing at a time, and says what went wrong. */
async function attempt(what: string, work: () => Promise<unknown>): Promise<void> {
  batch(() => {
    busy.value = what;
    fault.value = "";
  });
  try {
    await work();
  } catch (error) {
    const { status } = error as Partial<SipError>;
    fault.value =
      error instanceof SipError
        ? `${what}: ${status} ${error.reason}${error.detail === undefined ? "" : ` (${error.detail})`}`
        : `${what}: ${String(error)}`;
  } finally {
    busy.value = "";
    void askForBill();
  }
}

function stands(session: ClientSession): void {
  const number = ++last;
  const one = { number, session, since: performance.now(), service: session.service, access: session.access };
  sessions.value = [...sessions.value, one];
  session.onChange(async (change) => {
    await change.accept();
    seen(session);
  });
  void session.ended.then(({ by, reason }) => {
    const who = { local: "by you", remote: "by the other side", connection: "with its connection" }[by];
    sessions.value = sessions.value.map((each) =>
      each.session === session ? { ...each, ended: `ended ${who}${reason === undefined ? "" : `: ${reason}`}` } : each,
    );
    void askForBill();
  });
}

/** The session is another service's now. */
function seen(session: ClientSession): void {
  const { service, access } = session;
  sessions.value = sessions.value.map((one) => (one.session === session ? { ...one, service, access } : one));
}

async function askForBill(): Promise<void> {
  const [billed, cost] = await Promise.all(["bill", "running"].map((path) => fetch(path).catch(() => undefined)));
  if (billed?.ok) bill.value = await billed.text();
  if (cost?.ok) running.value = (await cost.json()) as Running[];
}

function SignIn({ relay, domain, user, password }: Settings) {
  const signIn = (event: SubmitEvent) => {
    event.preventDefault();
    const form = new FormData(event.currentTarget as HTMLFormElement);
    const text = (name: string) => String(form.get(name) ?? "");
    fault.value = "";
    client.value = createClient({
      relay,
      domain,
      user: text("user"),
      password: text("password"),
      onSession: (session) => stands(session),
    });
  };
  return (
    <main class="alone">
      <form class="panel" onSubmit={signIn}>
        <label>
          User
          <input name="user" value={user} autocomplete="username" required />
        </label>
        <label>
          Password
          <input name="password" type="password" value={password} autocomplete="current-password" required />
        </label>
        <button class="main" type="submit">
          Sign in
        </button>
        <p class="dim">
          The password stays in this page: the relay sees digests of it, with the first service that you open.
        </p>
      </form>
    </main>
  );
}

function Services({ services }: Settings) {
  return (
    <section class="panel" aria-label="Services">
      <h2>Services</h2>
      <ul class="services">
        {services.map(({ id, title }) => (
          <li key={id}>
            {title}
            <button
              type="button"
              disabled={busy.value !== ""}
              onClick={() =>
                void attempt(`Open ${title}`, () => client.value!.requestAll(id, { waitMs: 300, onSession: stands }))
              }
            >
              Open<span class="sr"> {title}</span>
            </button>
          </li>
        ))}
      </ul>
      <p role="status">{busy.value === "" ? "" : `${busy.value} …`}</p>
      {fault.value !== "" && (
        <p class="bad" role="alert">
          {fault.value}
        </p>
      )}
    </section>
  );
}

function Session({ number, session, since, service, access, ended }: Standing) {
  const others = settings.value!.services.filter(({ id }) => id !== service);
  const field = `to-${number}`;
  const chosen = () => (document.getElementById(field) as HTMLSelectElement).value;
  const title = titleOf(service);
  const off = busy.value !== "";
  return (
    <section class="panel session" aria-label={`${title}, session ${number}`}>
      <h2>
        {title}
        <time>{ended ?? seconds(now.value - since)}</time>
      </h2>
      {ended === undefined && access !== undefined && <iframe src={access} title={title} sandbox="allow-forms" />}
      {ended === undefined && (
        <div class="actions">
          <button type="button" disabled={off} onClick={() => void attempt(`End ${title}`, () => session.end())}>
            End
          </button>
          <select id={field} aria-label={`Another service in place of ${title}`}>
            {others.map(({ id, title: name }) => (
              <option key={id} value={id}>
                {name}
              </option>
            ))}
          </select>
          <button
            type="button"
            disabled={off}
            onClick={() =>
              void attempt("Change", async () => {
                await session.change(chosen());
                seen(session);
              })
            }
          >
            Change to it
          </button>
          <button
            type="button"
            disabled={off}
            onClick={() => void attempt("Move", async () => stands(await session.move(chosen(), { keep: true })))}
          >
            Open it beside
          </button>
        </div>
      )}
    </section>
  );
}

function App() {
  const said = settings.value;
  if (!said) return <p class={fault.value === "" ? "dim" : "bad"}>{fault.value || "…"}</p>;
  const standing = sessions.value.filter(({ ended }) => ended === undefined).length;
  return (
    <>
      <header>
        <h1>{said.domain}</h1>
        <span>{client.value ? `${standing} open` : "not signed in"}</span>
      </header>
      {client.value ? (
        <main>
          <div>
            <Services {...said} />
            <section class="panel" aria-label="Bill">
              {running.value.length > 0 && (
                <>
                  <h2>Running now</h2>
                  <ul class="running">
                    {running.value.map(({ id, service, durationMs, cost }) => (
                      <li key={id}>
                        {titleOf(service)}, {seconds(durationMs)}: <b>{cost}</b>
                      </li>
                    ))}
                  </ul>
                </>
              )}
              <h2>Your bill so far</h2>
              <pre tabIndex={0}>{bill.value || "nothing yet"}</pre>
            </section>
          </div>
          <div>
            {sessions.value.toReversed().map((one) => (
              <Session key={one.number} {...one} />
            ))}
            {sessions.value.length === 0 && <p class="dim">Open a service: its page comes here.</p>}
          </div>
        </main>
      ) : (
        <SignIn {...said} />
      )}
    </>
  );
}

render(<App />, document.getElementById("app")!);
setInterval(() => {
  now.value = performance.now();
}, 250);
setInterval(() => {
  if (!document.hidden && sessions.value.some(({ ended }) => ended === undefined)) void askForBill();
}, BILL_MS);
// A page that is closed hangs up, as far as the browser lets it.
addEventListener("pagehide", () => void client.value?.close());
try {
  const answer = await fetch("settings");
  if (!answer.ok) throw new Error(`${answer.status} ${answer.statusText}`);
  settings.value = (await answer.json()) as Settings;
} catch (error) {
  fault.value = `This page is served by tollgate demo --browser, which does not answer: ${String(error)}`;
}
