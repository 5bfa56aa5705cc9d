// Real PEFT loads adapters of models with two towers or with modules that Graft does not load: no key is missing or
// unexpected, and PEFT warns of none.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setThreads } from '@graft/kernels';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { CASES, write } from '../golden/exact-names.js';
import { PYTHON, ready } from './peft-logits.js';

const out = mkdtempSync(join(tmpdir(), 'graft-exact-names-'));
afterAll(() => rmSync(out, { recursive: true }));

describe.skipIf(!ready)(
  'adapters whose names also match other modules, loaded by real PEFT',
  () => {
    let problems: string[] = [];
    beforeAll(() => {
      setThreads(1);
      const written = CASES.map((one, number) => write(one, number, out));
      const script = join(import.meta.dirname, 'peft_keys.py');
      const python = spawnSync(PYTHON, [script], {
        input: JSON.stringify(written),
        encoding: 'utf8',
      });
      if (python.status !== 0) throw new Error(python.stderr);
      problems = JSON.parse(python.stdout) as string[];
    }, 600_000);

    it.each(CASES)('$shown', (one) => {
      expect(problems[CASES.indexOf(one)]).toBe('');
    });
  },
);
