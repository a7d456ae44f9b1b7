/** Numbers from 0 up to but not including `below`. */
export type Pick = (below: number) => number;

const MOST_BYTES = 4_096;
const ODD = [0, 1, 13, 10, 32, 34, 37, 58, 59, 60, 62, 64, 91, 92, 127, 128, 255];

/** Another input, made of one, of pieces of a second, and of words that steer the target. */
export function mutate(seed: Buffer, other: Buffer, words: readonly string[], pick: Pick): Buffer {
  let bytes: Buffer = Buffer.from(seed);
  for (let n = 1 + pick(1 << pick(4)); n > 0; n--) {
    const at = pick(bytes.length + 1);
    const length = 1 + pick(pick(4) === 0 ? 200 : 8);
    const before = bytes.subarray(0, at);
    const from = pick(other.length + 1);
    switch (pick(8)) {
      case 0:
        if (at < bytes.length) bytes[at] = pick(2) === 0 ? pick(256) : ODD[pick(ODD.length)]!;
        break;
      case 1:
        if (at < bytes.length) bytes[at]! ^= 1 << pick(8);
        break;
      case 2:
      case 3:
        bytes = Buffer.concat([before, Buffer.from(words[pick(words.length)]!, "latin1"), bytes.subarray(at)]);
        break;
      case 4:
        bytes = Buffer.concat([before, bytes.subarray(at + length)]);
        break;
      case 5:
        bytes = Buffer.concat([before, bytes.subarray(at, at + length), bytes.subarray(at)]);
        break;
      case 6:
        bytes = Buffer.concat([before, other.subarray(from, from + length), bytes.subarray(at)]);
        break;
      default:
        bytes = Buffer.concat([before, other.subarray(from)]);
    }
  }
  return bytes.subarray(0, MOST_BYTES);
}
