import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { counterNormal, tidy, to, type Dtype } from '@graft/kernels';
import { afterAll, expect, it } from 'vitest';
import { writeSafetensors } from '../safetensors.js';
import { openCheckpoint } from './weights.js';

const folder = mkdtempSync(join(tmpdir(), 'graft-weights-'));
afterAll(() => rmSync(folder, { recursive: true }));

it.each<Dtype>(['f32', 'bf16'])(
  'reads in stretches what it uses in place, the same numbers of %s',
  (dtype) => {
    tidy(() => {
      const draw = (shape: number[], site: number) =>
        to(counterNormal(shape, { seed: 1, step: 0, site }), dtype);
      // 4.3 million values: more than two chunks, the last one short; and a tensor with a few values
      const tensors = new Map([
        ['large', draw([1051, 4099], 0)],
        ['small', draw([7], 1)],
      ]);
      writeSafetensors(join(folder, 'model.safetensors'), tensors, { format: 'pt' });
      const [read, mapped] = [openCheckpoint(folder, null), openCheckpoint(folder, dtype)];
      try {
        for (const [name, wanted] of tensors) {
          const [ours, inPlace] = [read.get(name), mapped.get(name)];
          expect(ours?.shape).toEqual(wanted.shape);
          expect(ours?.dtype).toBe(dtype);
          expect(Buffer.from(ours?.bytes() ?? []).equals(Buffer.from(wanted.bytes()))).toBe(true);
          expect(Buffer.from(inPlace?.bytes() ?? []).equals(Buffer.from(wanted.bytes()))).toBe(
            true,
          );
          // a tensor that was read belongs to this scope, a mapped one to the file
          expect([ours?.kept, inPlace?.kept]).toEqual([false, true]);
        }
        expect(read.get('other')).toBeUndefined();
      } finally {
        read.close();
        mapped.close();
      }
    });
  },
);
