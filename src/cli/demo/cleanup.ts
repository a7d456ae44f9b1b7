const waiting = new Set<() => void>();
let watching = false;

/**
 * Has `clean` called once: when the returned function is called, or else when this process ends, by SIGINT or SIGTERM
 * too.
 */
export function cleanedUp(clean: () => void): () => void {
  watch();
  const once = () => {
    if (waiting.delete(once)) clean();
  };
  waiting.add(once);
  return once;
}

function watch(): void {
  if (watching) return;
  watching = true;
  const cleanAll = () => {
    for (const clean of [...waiting]) clean();
  };
  process.once("exit", cleanAll);
  for (const [signal, code] of [
    ["SIGINT", 130],
    ["SIGTERM", 143],
  ] as const) {
    process.once(signal, () => {
      if (process.listenerCount(signal) > 0) return; // somebody else ends the process, and more gently
      cleanAll();
      process.exit(code);
    });
  }
}
