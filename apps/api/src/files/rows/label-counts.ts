import type { Row } from './rows.js';

/** Maximum number of labels. More distinct values are scores or texts. */
const MOST = 1000;

/** Number of records with each label. */
export class LabelCounts {
  /** `null` if there is nothing to count. */
  private counts: Map<string, number> | null = new Map();

  add({ label, labels = label }: Row): void {
    for (const one of Array.isArray(labels) ? (labels as unknown[]) : [labels]) {
      const isLabel = typeof one === 'string' || typeof one === 'boolean' || Number.isInteger(one);
      if (!isLabel || this.counts === null) continue;
      const name = String(one);
      this.counts.set(name, (this.counts.get(name) ?? 0) + 1);
      if (this.counts.size > MOST) this.counts = null;
    }
  }

  get all(): ReadonlyMap<string, number> {
    return this.counts ?? new Map();
  }
}
