import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { DomainError } from '@graft/contracts';
import { describe, expect, it } from 'vitest';
import type { HfConfig } from '../../nn/hf-files.js';
import { inspectAdapter } from './inspect-adapter.js';

const GOLDEN = new URL('../../../../../test/golden/', import.meta.url).pathname;
const CONFIG = 'adapter_config.json';
const WEIGHTS = 'adapter_model.safetensors';

const configOf = (family: string): HfConfig =>
  JSON.parse(readFileSync(join(GOLDEN, family, 'base/config.json'), 'utf8')) as HfConfig;

/** Adapters that PEFT wrote, for bases that are a single model. */
const ADAPTERS = readdirSync(GOLDEN)
  .filter((family) => existsSync(join(GOLDEN, family, 'base/config.json')))
  .flatMap((family) =>
    readdirSync(join(GOLDEN, family))
      .filter((name) => existsSync(join(GOLDEN, family, name, WEIGHTS)))
      .map((name) => [family, name] as const),
  );

describe('adapters that PEFT wrote', () => {
  it.each(ADAPTERS)('%s/%s has the shapes that its config determines', (family, name) => {
    const folder = join(GOLDEN, family, name);
    const files = { config: join(folder, CONFIG), weights: join(folder, WEIGHTS) };
    try {
      expect(inspectAdapter(files, configOf(family)).parameters).toBeGreaterThan(0);
    } catch (error) {
      // Adapters with a head and combined adapters are rejected with that reason.
      expect((error as DomainError).message).toMatch(
        /^(task_type |modules_to_save:|adapters lists )/,
      );
    }
  });
});

it('rejects an adapter whose ranks differ from its config, with the tensor and both shapes', () => {
  const folder = mkdtempSync(join(tmpdir(), 'graft-inspect-adapter-'));
  try {
    const from = join(GOLDEN, 'llama/lora');
    const peft = JSON.parse(readFileSync(join(from, CONFIG), 'utf8')) as { r: number };
    const config = join(folder, CONFIG);
    writeFileSync(config, JSON.stringify({ ...peft, r: peft.r + 1 }));
    const inspect = () =>
      inspectAdapter({ config, weights: join(from, WEIGHTS) }, configOf('llama'));
    expect(inspect).toThrow(
      new RegExp(
        String.raw`^base_model\.model\.model\.layers\.0\.\S+\.lora_A\.weight has shape \[${peft.r}, (\d+)\], but with this adapter_config\.json and base it is \[${peft.r + 1}, \1\]$`,
      ),
    );
  } finally {
    rmSync(folder, { recursive: true });
  }
});
