import { LineRanges } from '../../catalog/plugins.js';

/** Number of different problems that are listed. Further ones are only counted. */
const REASONS = 20;

/** Groups invalid lines by problem, so that a file with the same mistake in each line gets one sentence. */
export class Problems {
  private readonly lines = new Map<string, LineRanges>();
  private beyond = 0;

  /** @param noun unit of the line numbers, such as "line" or "row" */
  constructor(private readonly noun: string) {}

  add(reason: string, number: number): void {
    let lines = this.lines.get(reason);
    if (!lines && this.lines.size === REASONS) {
      this.beyond++;
      return;
    }
    if (!lines) this.lines.set(reason, (lines = new LineRanges()));
    lines.add(number);
  }

  get none(): boolean {
    return this.lines.size === 0;
  }

  sentences(): string[] {
    const groups = [...this.lines].map(([reason, lines]) => `${lines.label(this.noun)}: ${reason}`);
    const { beyond } = this;
    if (beyond > 0) groups.push(`and ${beyond} more bad ${this.noun}${beyond === 1 ? '' : 's'}`);
    return groups;
  }
}
