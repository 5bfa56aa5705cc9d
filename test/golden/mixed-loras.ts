// LoRAs with random weights for X-LoRA to mix.
import { keep, mul, tidy } from '@graft/kernels';
import { attachMethod, type Model, type PeftConfig } from '@graft/peft-core';

type Config = NonNullable<PeftConfig>;

export const XLORA = { peft_type: 'XLORA', adapters: { 0: 'one', 1: 'another' } };
const LORA = { peft_type: 'LORA', init_lora_weights: false, lora_dropout: 0.1 };
const LORAS: readonly Config[] = [
  { ...LORA, r: 2 },
  { ...LORA, r: 3, lora_alpha: 6, exclude_modules: String.raw`.*\.0\..*` },
];

const isMixed = (config: PeftConfig): boolean => config?.peft_type === XLORA.peft_type;

/** Configs of the adapters that an adapter is built from. */
export const partConfigs = (config: PeftConfig): readonly Config[] =>
  isMixed(config) ? LORAS : [];

/** Adapters that an adapter is built from, for a model. */
export const partsFor = (model: Model, config: PeftConfig) =>
  partConfigs(config).map((peft, i) => {
    const adapter = attachMethod(model, peft, { run: 9000 + i, seed: 31 + i });
    const copies = [...adapter.exported()].map(([name, tensor]) => {
      return [name, keep(tidy(() => mul(tensor, 1).detach()))] as const;
    });
    adapter.detach();
    return { peft, tensors: new Map(copies) };
  });
