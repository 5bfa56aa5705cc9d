// Progress of a run: a line that is rewritten on a terminal, or a line at intervals elsewhere.
import { duration } from '@graft/contracts';

export interface ProgressView {
  readonly step: number;
  readonly totalSteps: number;
  readonly loss: number;
  readonly tokensPerSecond: number;
  /** Throughput of images or audio, as text. */
  readonly speeds: readonly string[];
  readonly etaSeconds: number;
  readonly rssBytes: number;
}

const BAR = 24;
const QUIET_MS = 5_000;

export class Progress {
  private shownAt = -Infinity;
  private open = false;

  constructor(private readonly out: NodeJS.WriteStream = process.stderr) {}

  update(view: ProgressView): void {
    const now = performance.now();
    const last = view.step === view.totalSteps;
    if (this.out.isTTY) {
      this.out.write(`\r\u001b[K${line(view, true)}`);
      this.open = true;
    } else if (last || now - this.shownAt >= QUIET_MS) {
      this.out.write(`${line(view, false)}\n`);
      this.shownAt = now;
    }
  }

  /** Prints a line of text. */
  print(text: string): void {
    if (this.open) this.out.write('\n');
    this.open = false;
    this.out.write(`${text}\n`);
  }

  /** Shows what the run waits for; on a terminal only. */
  waitFor(message: string, progress: number | null): void {
    if (!this.out.isTTY) return;
    const share = progress === null ? '' : ` ${Math.round(100 * progress)} %`;
    this.out.write(`\r\u001b[K${message}${share}`);
    this.open = true;
  }
}

function line(view: ProgressView, bar: boolean): string {
  const share = view.step / Math.max(1, view.totalSteps);
  const filled = Math.round(BAR * share);
  const parts = [
    `step ${view.step}/${view.totalSteps}`,
    `loss ${view.loss.toFixed(4)}`,
    `${Math.round(view.tokensPerSecond)} tokens/s`,
    ...view.speeds,
    `ETA ${duration(view.etaSeconds)}`,
    `${(view.rssBytes / 2 ** 30).toFixed(2)} GiB`,
  ];
  return `${bar ? `${'█'.repeat(filled)}${'░'.repeat(BAR - filled)} ` : ''}${parts.join('  ')}`;
}
