import { Spec } from '@graft/contracts';

/**
 * Returns a complete Spec for a test: LoRA on an f32 base model, without warm-up. Other options have their schema's
 * defaults, so a new option needs no change here or in the tests.
 */
export function testSpec(changes: Partial<Spec> = {}): Spec {
  return Spec.parse({
    model: 'base',
    task: 'causal_lm',
    peft: { peft_type: 'LORA', r: 4 },
    seed: 1,
    batch_size: 4,
    n_epochs: 1,
    learning_rate: 0.01,
    warmup_ratio: 0,
    base_dtype: 'f32',
    ...changes,
  });
}
