// The committed small base model loads and predicts text of its book.
import { fileURLToPath } from 'node:url';
import {
  causalLm,
  loadBase,
  packBatch,
  packedLoss,
  Processor,
  Tokenizer,
  type Base,
} from '@graft/peft-core';
import { noGrad, tidy } from '@graft/kernels';
import { afterAll, beforeAll, expect, it } from 'vitest';

const FOLDER = fileURLToPath(new URL('../../examples/tiny-base', import.meta.url));
const RUN = 0;
/** Maximum loss. Its loss on held-out passages of the book was 4.14; an untrained model has ln 2048 = 7.62. */
const MOST = 5;

let base: Base;
beforeAll(() => {
  base = loadBase(FOLDER, { dtype: 'f32', quantization: null });
});
afterAll(() => base.dispose());

it('predicts a passage of the book', () => {
  const text =
    'There now is your insular city of the Manhattoes, belted round by wharves as Indian isles by coral reefs—commerce surrounds it with her surf.';
  const processor = new Processor({ tokenizer: Tokenizer.load(FOLDER) });
  const prepared = causalLm.prepare({ text }, processor, {});
  const { example } = causalLm.encode([prepared], processor, { maxSeqLen: 128 })[0]!;
  const sums = tidy(() =>
    noGrad(() => {
      const packed = packBatch([{ run: RUN, examples: [example] }]);
      const ctx = { training: false, runs: new Map() };
      return packedLoss(
        base.model,
        base.model.forward(packed.batch, ctx).decoder,
        packed,
        ctx,
        null,
      );
    }),
  );
  const { loss, count } = sums.get(RUN) as { loss: number; count: number };
  expect(count).toBeGreaterThan(30);
  expect(loss / count).toBeLessThan(MOST);
});

it('has the documented number of parameters, including the tied head', () => {
  expect(base.model.parameterCount).toBe(2_361_408);
  expect(base.model.vocabSize).toBe(2048);
});
