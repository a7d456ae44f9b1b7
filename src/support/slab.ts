/** How much memory is asked for at a time. */
const SLAB_BYTES = 65_536;

/**
 * Cuts buffers out of memory that is allocated in large pieces. A piece stays in memory as long as any buffer in it. So
 * buffers that are kept for long have a slab of their own: among short-lived ones, a few bytes would keep a whole
 * piece, though nobody needs the rest of it.
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
