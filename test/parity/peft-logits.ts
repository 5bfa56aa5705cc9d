// Shared by the parity specs: Graft's logits, and those of real transformers and PEFT in the environment of
// the goldens.
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { noGrad, tidy } from '@graft/kernels';
import { packBatch, runRows, type Model, type TokenSequence } from '@graft/peft-core';
import { expect } from 'vitest';

const ROOT = new URL('../../', import.meta.url).pathname;
export const GOLDEN = join(ROOT, 'test/golden');
const VENV = process.env['GRAFT_PARITY_VENV'] ?? join(ROOT, '.venv-parity');
/** Interpreter of the environment. */
export const PYTHON = join(VENV, 'bin/python');
export const ready = existsSync(join(VENV, 'pins.sha256'));
export const missing = `${VENV} is missing (python3 test/golden/environment.py makes it)`;

const SEQUENCES = [[5, 17, 42, 8, 23, 61, 2], [89, 3, 3, 23], [23]];
export const RUN = 1;

/** Next-token targets of a sequence in Hugging Face's convention. */
export function example({ tokens, labels }: { tokens: number[]; labels: number[] }): TokenSequence {
  return {
    tokens: Int32Array.from(tokens),
    labels: Int32Array.from([...labels.slice(1), -100]),
    first: labels[0] as number,
  };
}

/** Returns the logits of a few sequences, with the adapter attached for RUN. */
export function logits(model: Model): Float32Array[] {
  return SEQUENCES.map((tokens) => {
    const { batch } = packBatch([{ run: RUN, examples: [example({ tokens, labels: tokens })] }]);
    const ctx = {
      training: false,
      runs: new Map([[RUN, { seed: 0, step: 0 }]]),
      rows: runRows(batch.decoder.sequences),
    };
    return noGrad(() =>
      tidy(() => {
        const { hidden } = model.forward(batch, ctx).decoder;
        return model.head('lm', hidden, ctx).toArray() as Float32Array;
      }),
    );
  });
}

/** Largest difference over largest value. */
export function apart(values: Float32Array, reference: Float32Array): number {
  expect(values.length).toBe(reference.length);
  const worst = values.reduce(
    (max, value, i) => Math.max(max, Math.abs(value - (reference[i] as number))),
    0,
  );
  return worst / reference.reduce((max, value) => Math.max(max, Math.abs(value)), 0);
}

// Runs peft_logits.py for all cases in one interpreter, because importing torch takes longer than all cases
// together.
const DRIVER = `
import io, json, runpy, sys
script, cases, sequences = sys.argv[1], json.loads(sys.argv[2]), sys.argv[3]
for base, adapter, out in cases:
    sys.argv = [script, "--base", base, "--out", out] + (["--adapter", adapter] if adapter else [])
    sys.stdin = io.StringIO(sequences)
    runpy.run_path(script, run_name="__main__")
`;

/**
 * @param table per case: the base's folder, the adapter's folder, and the output file for the logits "0",
 * "1", …
 */
export function askPeft(
  table: readonly (readonly [base: string, adapter: string | null, out: string])[],
): void {
  const script = join(ROOT, 'test/parity/peft_logits.py');
  const env = {
    ...process.env,
    HF_HUB_OFFLINE: '1',
    TRANSFORMERS_OFFLINE: '1',
    PYTHONDONTWRITEBYTECODE: '1',
    PYTHONHASHSEED: '0',
    HF_HUB_DISABLE_PROGRESS_BARS: '1',
    TRANSFORMERS_VERBOSITY: 'error',
    PYTHONPATH: join(ROOT, 'test/parity'),
  };
  const { status, stderr } = spawnSync(
    PYTHON,
    ['-c', DRIVER, script, JSON.stringify(table), JSON.stringify(SEQUENCES)],
    { env, encoding: 'utf8' },
  );
  if (status !== 0) throw new Error(`peft_logits.py failed:\n${stderr}`);
}
