// Exports as a worker writes them, and Graft's own results with the same weights.
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Export, Spec } from '@graft/contracts';
import { noGrad, softmax, tidy } from '@graft/kernels';
import {
  atOnce,
  attachMethod,
  operate,
  packBatch,
  readAdapter,
  runRows,
  type Adapter,
  type Base,
} from '@graft/peft-core';

export const RUN = 1;

/** Writes an export and returns its folder. */
export function exported(base: Base, dir: string, how: Export, adapter: string | null): string {
  mkdirSync(dir, { recursive: true });
  const spec = {
    task: 'causal_lm',
    task_options: {},
    seed: 1,
    peft: null,
    operation: { type: 'export', ...how },
  } as unknown as Spec;
  atOnce(
    operate(base, spec, {
      nextId: () => RUN + 1,
      baseName: 'tiny',
      adapterDirs: adapter === null ? [] : [adapter],
      workDir: dir,
    }),
  );
  return join(dir, 'adapter');
}

/** Attaches a stored adapter to the base model, for RUN. */
export function attachedAdapter(base: Base, dir: string): Adapter {
  const { peft, tensors } = readAdapter(dir, base.config);
  const adapter = attachMethod(base.model, peft, { run: RUN, seed: 3 });
  adapter.load(tensors);
  return adapter;
}

/** Greedy continuation of a prompt with RUN's adapter, and the probabilities of all tokens at each position. */
export function greedy(
  base: Base,
  prompt: readonly number[],
  count: number,
): { said: number[]; tables: Float32Array[] } {
  const said: number[] = [];
  const tables: Float32Array[] = [];
  while (said.length < count && !base.tokenizer.eosIds.includes(said.at(-1) ?? -1)) {
    const probabilities = next(base, [...prompt, ...said]);
    tables.push(probabilities);
    said.push(
      probabilities.reduce((best, p, i) => (p > (probabilities[best] as number) ? i : best), 0),
    );
  }
  return { said, tables };
}

function next({ model }: Base, tokens: readonly number[]): Float32Array {
  const labels = Int32Array.from(tokens, () => -100);
  const example = { tokens: Int32Array.from(tokens), labels, first: -100 };
  const { batch } = packBatch([{ run: RUN, examples: [example] }]);
  const ctx = {
    training: false,
    runs: new Map([[RUN, { seed: 0, step: 0 }]]),
    rows: runRows(batch.decoder.sequences),
  };
  return noGrad(() =>
    tidy(() => {
      const { hidden } = model.forward(batch, ctx).decoder;
      const all = softmax(model.head('lm', hidden, ctx), -1).toArray() as Float32Array;
      const size = all.length / tokens.length;
      return all.slice(-size);
    }),
  );
}
