/** Messages that wait, oldest first. Nothing is made for a message. */
export class Ring<Origin> {
  size = 0;
  private readonly places: number;
  private readonly allBytes: (Buffer | undefined)[];
  private readonly origins: (Origin | undefined)[];
  private readonly addresses: string[];
  private readonly ports: Uint16Array;
  private readonly times: Float64Array;
  private readonly keys: Uint32Array;
  private head = 0;

  constructor(places: number) {
    this.places = places;
    this.allBytes = new Array(places).fill(undefined);
    this.origins = new Array(places).fill(undefined);
    this.addresses = new Array(places).fill("");
    this.ports = new Uint16Array(places);
    this.times = new Float64Array(places);
    this.keys = new Uint32Array(places);
  }

  get isFull(): boolean {
    return this.size === this.places;
  }

  put(bytes: Buffer, origin: Origin, address: string, port: number, at: number, key: number): void {
    const place = (this.head + this.size) % this.places;
    this.allBytes[place] = bytes;
    this.origins[place] = origin;
    this.addresses[place] = address;
    this.ports[place] = port;
    this.times[place] = at;
    this.keys[place] = key;
    this.size++;
  }

  /* Of the first one: */

  get bytes(): Buffer {
    return this.allBytes[this.head]!;
  }

  get origin(): Origin {
    return this.origins[this.head]!;
  }

  get address(): string {
    return this.addresses[this.head]!;
  }

  get port(): number {
    return this.ports[this.head]!;
  }

  /** It came after that. */
  get since(): number {
    return this.times[this.head]!;
  }

  /** What its Call-ID became. */
  get key(): number {
    return this.keys[this.head]!;
  }

  drop(): void {
    this.allBytes[this.head] = undefined;
    this.origins[this.head] = undefined;
    this.head = (this.head + 1) % this.places;
    this.size--;
  }
}
