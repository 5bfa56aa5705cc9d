// metrics.jsonl, with one line per step. A resumed run continues it from the step of the checkpoint.
import { appendFileSync, existsSync, readFileSync, writeFileSync } from 'node:fs';
import type { FactOfRun } from '@graft/peft-core';

export class MetricsFile {
  /** @param fromStep step to continue from; lines of later steps are removed, since these steps are repeated */
  constructor(
    private readonly path: string,
    fromStep: number,
  ) {
    const previous =
      fromStep > 0 && existsSync(path)
        ? readFileSync(path, 'utf8')
            .split('\n')
            .filter((line) => keeps(line, fromStep))
        : [];
    writeFileSync(path, previous.map((line) => `${line}\n`).join(''));
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
    return false; // incomplete last line of a killed run
  }
}
