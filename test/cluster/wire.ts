/** What nodes tell each other comes at once to all who hear it. A node can be cut off; what is lost can be chosen. */
export class Wire {
  private readonly ears = new Map<string, Map<string, (text: string) => void>>();
  readonly cut = new Set<string>();
  /** Topics of which nothing arrives. */
  readonly lost = new Set<string>();
  /** All that was told. */
  readonly told: { readonly topic: string; readonly text: string }[] = [];

  of(node: string) {
    return {
      tell: (topic: string, text: string) => {
        if (this.cut.has(node)) return false;
        this.told.push({ topic, text });
        if (this.lost.has(topic)) return true;
        for (const [name, heard] of this.ears.get(topic) ?? []) if (!this.cut.has(name)) heard(text);
        return true;
      },
      hear: (topic: string, heard: (text: string) => void) => {
        const all = this.ears.get(topic) ?? new Map<string, (text: string) => void>();
        this.ears.set(topic, all);
        all.set(node, heard);
        return () => void all.delete(node);
      },
    };
  }
}
