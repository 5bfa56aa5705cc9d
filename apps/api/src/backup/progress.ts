import type { StoredBlob } from '../blobs/blob-backend.js';

/** Reports a line of progress to the user. */
export type Print = (text: string) => void;

const EVERY_MS = 2_000;
const GB = 1e9;

/** Reports the number of items and bytes done, every few seconds. */
export class Progress {
  private count = 0;
  private bytes = 0;
  private printedAt = performance.now();
  private readonly whole: number;

  constructor(
    private readonly what: string,
    private readonly items: { readonly length: number } & Iterable<StoredBlob>,
    private readonly print: Print,
  ) {
    this.whole = [...items].reduce((sum, { size }) => sum + size, 0);
  }

  done({ size }: StoredBlob): void {
    this.count++;
    this.bytes += size;
    if (performance.now() - this.printedAt >= EVERY_MS) this.end();
  }

  end(): void {
    this.printedAt = performance.now();
    const [done, whole] = [this.bytes, this.whole].map((bytes) => (bytes / GB).toFixed(1));
    this.print(`${this.what}: ${this.count} of ${this.items.length}, ${done} of ${whole} GB`);
  }
}
