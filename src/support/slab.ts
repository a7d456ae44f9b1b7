/** How much memory is asked for at a time. */
const SLAB_BYTES = 65_536;

/**
 * Bytes written one behind the other into memory that is asked for in large pieces: a piece stays as long as anything
 * in it does. What is kept for long has a slab of its own, or each of its few bytes would keep a piece full of what
 * is over.
 */
export class Slab {
  private memory = Buffer.allocUnsafeSlow(SLAB_BYTES);
  private used = 0;

  /** Room for so many bytes, not cleared. */
  take(length: number): Buffer {
    if (length > SLAB_BYTES / 8) return Buffer.allocUnsafeSlow(length);
    if (length > SLAB_BYTES - this.used) {
      this.memory = Buffer.allocUnsafeSlow(SLAB_BYTES);
      this.used = 0;
    }
    const start = this.used;
    this.used += length;
    return this.memory.subarray(start, this.used);
  }

  copy(bytes: Buffer): Buffer {
    const copy = this.take(bytes.length);
    copy.set(bytes);
    return copy;
  }
}
