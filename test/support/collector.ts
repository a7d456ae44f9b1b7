import { Writable } from "node:stream";

/** A stream that keeps what is written to it. */
export function collector(): { readonly out: Writable; text(): string } {
  let text = "";
  const out = new Writable({
    write(chunk, _encoding, done) {
      text += chunk;
      done();
    },
  });
  return { out, text: () => text };
}
