// Devices other than the CPU use compositions of libtorch operators instead of our kernels. This spec runs
// them on the CPU. To run all goldens this way: GRAFT_OWN_KERNELS=0 npm test -- test/golden
import { join } from 'node:path';
import { mapSafetensors, noGrad, ownKernels, tidy } from '@graft/kernels';
import { buildModel, runRows, type HfConfig } from '@graft/peft-core';
import { afterEach, describe, expect, it } from 'vitest';
import {
  families,
  firstBatch,
  floats,
  HERE,
  json,
  largest,
  values,
  difference,
} from './golden-case.js';

const RUN = 5;
/** Tolerance, as in golden.spec.ts. */
const F32 = 1e-4;

afterEach(() => void ownKernels(true));

describe.each(families)('%s', (family) => {
  it('has the golden logits without our kernels', () => {
    ownKernels(false);
    const { tensors, close } = mapSafetensors(join(HERE, family, 'base', 'model.safetensors'));
    const model = buildModel(json<HfConfig>(family, 'base', 'config.json'), tensors, {
      dtype: 'f32',
      quantization: null,
    });
    const { batch } = firstBatch(family, RUN);
    const ctx = { training: false, runs: new Map(), rows: runRows(batch.decoder.sequences) };
    const ours = noGrad(() =>
      tidy(() => floats(model.head('lm', model.forward(batch, ctx).decoder.hidden, ctx))),
    );
    const theirs = values(join(family, 'none', 'golden.safetensors')).get('logits') as Float32Array;
    expect(ours.length).toBe(theirs.length);
    expect(difference(ours, theirs)).toBeLessThan(F32 * largest(theirs));
    model.dispose();
    close();
  });
});
