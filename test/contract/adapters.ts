import type { Bus } from "../../src/bus/types.ts";
import type { Store } from "../../src/store/types.ts";

/** An adapter under test. */
export interface StoreAdapter {
  readonly name: string;
  /** A store with nothing in it. */
  create(): Promise<StoreUnderTest>;
}

export interface StoreUnderTest {
  /** Opens the same store; several may be open at once, as from several processes. */
  open(): Promise<Store>;
  /** Removes it, after all that were opened are closed. */
  destroy(): Promise<void>;
}

export interface BusAdapter {
  readonly name: string;
  /** A bus with nothing on it, and what takes it away again. */
  create(): Promise<{ readonly bus: Bus; destroy(): Promise<void> }>;
}
