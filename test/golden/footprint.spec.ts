// Number of parameters: the preview computes it from config.json alone, and it must equal that of the
// trainer.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { mapSafetensors, setThreads } from '@graft/kernels';
import { attachMethod, buildModel, type Model } from '@graft/peft-core';
import { footprintOf } from '@graft/peft-core/catalog';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { casesOf, families, HERE, json, partsOf } from './golden-case.js';

type Config = { readonly peft_type: string } & Readonly<Record<string, unknown>>;
type BaseConfig = Parameters<typeof footprintOf>[1];

beforeAll(() => setThreads(1));

describe.each(families)('%s', (family) => {
  const config = json<BaseConfig>(family, 'base', 'config.json');
  let model: Model;
  let close: () => void;

  beforeAll(() => {
    const file = mapSafetensors(join(HERE, family, 'base', 'model.safetensors'));
    model = buildModel(config, file.tensors, { dtype: 'f32', quantization: null });
    close = () => {
      model.dispose();
      file.close();
    };
  });
  afterAll(() => close());

  const cases = casesOf(family).filter((name) => name !== 'none');
  it.each(cases)('%s', (name) => {
    const hasFile = existsSync(join(HERE, family, name, 'adapter_config.json'));
    const peft = hasFile ? json<Config>(family, name, 'adapter_config.json') : null;
    const adapters = partsOf(family, name);
    const footprint = footprintOf(
      peft,
      config,
      false,
      null,
      adapters.map((part) => part.peft),
    );
    const { trainableParameters, totalParameters, maxTokens } = footprint;
    const adapter = attachMethod(model, peft, { run: 1, seed: 0, adapters });
    try {
      const made = [...adapter.parameters.values()].reduce((sum, { size }) => sum + size, 0);
      // AdaMSS' ranks depend on clusters of the weights, so the preview reports the maximum
      const least = peft?.peft_type === 'ADAMSS' ? 0.8 : 1;
      expect(made).toBeLessThanOrEqual(trainableParameters);
      expect(made).toBeGreaterThanOrEqual(least * trainableParameters);
      expect(totalParameters).toBe(model.parameterCount);
      const { inputs, prefix } = model.modules;
      const positions = inputs.of(1) ? model.fixedRopePositions : model.maxPositions;
      expect(maxTokens).toBe(positions - (inputs.of(1)?.length ?? prefix.of(1)?.length ?? 0));
    } finally {
      adapter.detach();
    }
  });
});
