import { useSignal } from "@preact/signals";
import { may, send } from "../api.ts";
import { address } from "../router.ts";
import { Field, Notice, textOf } from "../ui.tsx";

const SCENES = [
  {
    id: "charged",
    name: "A shop that sells something",
    says: "The app server accepts, charges two items in INFO, and hangs up.",
  },
  {
    id: "timed",
    name: "Two seconds of a lesson",
    says: "The app server accepts; the client hangs up after two seconds. Time is charged by the tariff.",
  },
  { id: "busy", name: "Busy", says: "The app server answers 486: the call fails, and nothing is charged." },
  { id: "cancelled", name: "Given up", says: "The app server lets it ring; the client cancels." },
] as const;

/** Places a test call and goes to it: the relay plays client and app server. */
export default function Try() {
  const scene = useSignal<string>(SCENES[0].id);
  const item = useSignal("Riesling");
  const price = useSignal("12.50");
  const busy = useSignal(false);
  const failed = useSignal("");
  const place = async (event: Event) => {
    event.preventDefault();
    busy.value = true;
    failed.value = "";
    try {
      const { call } = await send<{ call: string }>("POST", "test-calls", {
        scene: scene.value,
        item: item.value,
        unitPrice: price.value,
      });
      location.hash = address("call", call).slice(1);
    } catch (error) {
      failed.value = textOf(error);
    }
    busy.value = false;
  };
  return (
    <>
      <h1>Try it</h1>
      <p class="about">
        The relay plays a client and an app server, over real SIP on this machine, and places one call between them. You
        see it go through its charts as it happens. The call is by a test user; its charges are on nobody's bill but
        that user's.
      </p>
      {!may("operate") && (
        <Notice>Placing a call takes the right to operate: sign in with a token of an operator.</Notice>
      )}
      <form class="try" onSubmit={place}>
        <fieldset>
          <legend>What happens</legend>
          {SCENES.map(({ id, name, says }) => (
            <label key={id} class="scene">
              <input
                type="radio"
                name="scene"
                value={id}
                checked={scene.value === id}
                onChange={() => {
                  scene.value = id;
                }}
              />
              <span>
                <b>{name}</b>
                <small>{says}</small>
              </span>
            </label>
          ))}
        </fieldset>
        {scene.value === "charged" && (
          <div class="filters">
            <Field
              label="Item"
              value={item.value}
              change={(value) => {
                item.value = value;
              }}
              required
            />
            <Field
              label="Unit price, EUR"
              value={price.value}
              change={(value) => {
                price.value = value;
              }}
              required
            />
          </div>
        )}
        {failed.value && <Notice bad>{failed.value}</Notice>}
        <p>
          <button type="submit" class="main" disabled={busy.value || !may("operate")}>
            {busy.value ? "Calling" : "Place the call"}
          </button>
        </p>
      </form>
    </>
  );
}
