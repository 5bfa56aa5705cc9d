// Guides name some model types as unsupported.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { catalog } from '@graft/peft-core/catalog';
import { expect, it } from 'vitest';

const PAGE = readFileSync(join(import.meta.dirname, '../../docs/guides/task-details.md'), 'utf8');

/** Names in the guide, and their `model_type`s. */
const UNSUPPORTED: Readonly<Record<string, string>> = {
  HuBERT: 'hubert',
  WavLM: 'wavlm',
  CLIP: 'clip',
  Swin: 'swin',
  BEiT: 'beit',
  'SigLIP 2': 'siglip2',
};

it('names as unsupported only model types that no family has', () => {
  const [, list = ''] = /not supported include ([^.]+)\./.exec(PAGE) ?? [];
  const known = new Set(catalog().families.flatMap(({ model_types: types }) => types));
  for (const [name, type] of Object.entries(UNSUPPORTED)) {
    expect(list, name).toContain(name);
    expect(known.has(type), type).toBe(false);
  }
});
