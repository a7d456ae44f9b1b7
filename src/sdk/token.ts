/** A fresh token of hexadecimal digits with that many random bits, in Node and in browsers (RFC 3261 §19.3). */
export function token(bits = 96): string {
  let text = "";
  for (const byte of crypto.getRandomValues(new Uint8Array(Math.ceil(bits / 8))))
    text += byte.toString(16).padStart(2, "0");
  return text;
}
