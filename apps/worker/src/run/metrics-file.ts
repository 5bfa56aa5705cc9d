// metrics.jsonl: a line a step. After a resume it goes on where the checkpoint stood.
import { appendFileSync, existsSync, readFileSync, writeFileSync } from 'node:fs';
import type { FactOfRun } from '@graft/peft-core';

export class MetricsFile {
  /** @param fromStep lines of later steps are dropped: they will be computed again */
  constructor(
    private readonly path: string,
    fromStep: number,
  ) {
    const kept =
      fromStep > 0 && existsSync(path)
        ? readFileSync(path, 'utf8')
            .split('\n')
            .filter((line) => keeps(line, fromStep))
        : [];
    writeFileSync(path, kept.map((line) => `${line}\n`).join(''));
  }

  step(fact: FactOfRun<'step'>): void {
    this.append({
      step: fact.step,
      tokens: fact.tokens,
      seconds: fact.seconds,
      ...fact.metrics,
    });
  }

  evaluated(fact: FactOfRun<'evaluated'>): void {
    const valid = Object.entries(fact.metrics).map(([name, value]) => [`valid_${name}`, value]);
    this.append({ step: fact.step, ...Object.fromEntries(valid) });
  }

  private append(line: object): void {
    appendFileSync(this.path, `${JSON.stringify(line)}\n`);
  }
}

function keeps(line: string, fromStep: number): boolean {
  try {
    return (JSON.parse(line) as { step: number }).step <= fromStep;
  } catch {
    return false; // the torn last line of a killed run
  }
}
