import { useSignal } from "@preact/signals";
import { type ComponentType, render } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { type ApiError, askWho, hasToken, me, returns, signedOutBy, signIn, signOut, trouble } from "./api.ts";
import { address, route } from "./router.ts";
import { Notice, textOf } from "./ui.tsx";

const PAGES: Readonly<
  Record<string, { readonly name: string; readonly load: () => Promise<{ readonly default: ComponentType }> }>
> = {
  calls: { name: "Calls", load: () => import("./pages/calls.tsx") },
  charts: { name: "Charts", load: () => import("./pages/charts.tsx") },
  network: { name: "Network", load: () => import("./pages/network.tsx") },
  people: { name: "People", load: () => import("./pages/people.tsx") },
  money: { name: "Money", load: () => import("./pages/money.tsx") },
  try: { name: "Try it", load: () => import("./pages/try.tsx") },
  call: { name: "Call", load: () => import("./pages/call.tsx") },
};
const IN_MENU = Object.entries(PAGES).filter(([page]) => page !== "call");

const loaded = new Map<string, ComponentType>();

function App() {
  const { page, id } = route.value;
  const main = useRef<HTMLElement>(null);
  const isFirst = useRef(true);
  const now = Object.hasOwn(PAGES, page) ? page : "calls";
  useEffect(() => {
    document.title = `${id ? `${id} · ` : ""}${PAGES[now]!.name} · Tollgate`;
    // Whoever moves by keyboard or listens begins where the new page begins.
    if (!isFirst.current) main.current?.focus();
    isFirst.current = false;
  }, [now, id]);
  useEffect(() => {
    if (returns.value > 0 && me.value === undefined) void askWho().catch(() => {});
  }, [returns.value]);
  return (
    <>
      <header class="top">
        <button type="button" class="skip" onClick={() => main.current?.focus()}>
          To the page
        </button>
        <a class="brand" href={address("calls")}>
          <svg viewBox="0 0 24 24" width="20" height="20" aria-hidden="true">
            <path
              d="M4 21V6m0 4h16M4 10l16 5M20 21V8"
              fill="none"
              stroke="currentColor"
              stroke-width="2"
              stroke-linecap="round"
            />
          </svg>
          Tollgate
        </a>
        <nav aria-label="Pages">
          {IN_MENU.map(([name, { name: title }]) => (
            <a
              key={name}
              href={address(name)}
              aria-current={name === now || (name === "calls" && now === "call") ? "page" : undefined}
            >
              {title}
            </a>
          ))}
        </nav>
        <Who />
      </header>
      {trouble.value && (
        <div class="trouble" role="alert">
          {trouble.value}
        </div>
      )}
      <main ref={main} tabIndex={-1}>
        <Page page={now} />
      </main>
    </>
  );
}

function Page({ page }: { readonly page: string }) {
  const round = useSignal(0);
  const failed = useSignal("");
  useEffect(() => {
    failed.value = "";
    if (loaded.has(page)) return;
    PAGES[page]!.load().then(
      ({ default: component }) => {
        loaded.set(page, component);
        round.value++;
      },
      (error: unknown) => {
        failed.value = textOf(error);
      },
    );
  }, [page, returns.value]);
  void round.value;
  if (me.value === null && page !== "charts") return <SignIn />;
  const Component = loaded.get(page);
  if (failed.value) return <Notice bad>This page was not loaded: {failed.value}. Load it anew.</Notice>;
  if (me.value === undefined) return <p class="empty">The relay is asked who you are.</p>;
  return Component ? <Component /> : null;
}

function Who() {
  if (!me.value) return <span class="who" />;
  const { name, role } = me.value;
  return (
    <span class="who">
      <span>{role === "loopback" ? "this machine, reading" : `${name} (${role})`}</span>
      {hasToken() ? (
        <button type="button" onClick={signOut}>
          Sign out
        </button>
      ) : (
        <button
          type="button"
          onClick={() => {
            me.value = null;
          }}
        >
          Sign in
        </button>
      )}
    </span>
  );
}

function SignIn() {
  const text = useSignal("");
  const failed = useSignal("");
  const go = async (event: Event) => {
    event.preventDefault();
    try {
      await signIn(text.value);
      failed.value = "";
    } catch (error) {
      failed.value = textOf(error);
    }
  };
  /** On the relay's own machine calls may be seen without one. */
  const goWithout = async () => {
    try {
      await askWho();
      failed.value = me.value === null ? "This relay shows nothing but the charts to whoever has no token." : "";
      signedOutBy.value = "";
    } catch (error) {
      failed.value = textOf(error);
    }
  };
  return (
    <form class="sign-in" onSubmit={go}>
      <h1>Sign in</h1>
      <p>
        The console takes a token, which <code>tollgate token create</code> makes. It stays in this window, and is gone
        when the window is closed. The charts can be seen without one.
      </p>
      <label class="field">
        <span>Token</span>
        <input
          type="password"
          required
          autocomplete="off"
          value={text.value}
          onInput={(event) => {
            text.value = event.currentTarget.value;
          }}
        />
      </label>
      {(failed.value || signedOutBy.value) && <Notice bad>{failed.value || signedOutBy.value}</Notice>}
      <p class="bar">
        <button type="submit" class="main">
          Sign in
        </button>
        <button type="button" onClick={goWithout}>
          Go on without a token
        </button>
      </p>
    </form>
  );
}

/** `#/call/x?token=...` as the demo prints it: the token goes into this window, and out of the address. */
async function begin(): Promise<void> {
  const { page, id, query } = route.value;
  const token = query.get("token");
  if (token === null) return askWho();
  const rest = Object.fromEntries([...query].filter(([name]) => name !== "token"));
  history.replaceState(null, "", address(page, id, rest));
  dispatchEvent(new HashChangeEvent("hashchange"));
  return signIn(token);
}

render(<App />, document.getElementById("app")!);
void begin().catch(({ status, message }: ApiError) => {
  if (status === 0) return;
  signedOutBy.value = message;
  me.value ??= null;
});
