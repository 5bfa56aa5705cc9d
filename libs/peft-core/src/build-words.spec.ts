import type { CreateJob } from '@graft/contracts';
import { expect, it } from 'vitest';
import {
  buildWords,
  ENDS_EARLY,
  lackedWords,
  missingInWords,
  neededWords,
  withoutUnknown,
  wordsSaid,
} from './build-words.js';
import { resolveSpec } from './catalog.js';
import { methods } from './methods/registry.js';
import { OLDEST_WORDS } from './oldest-words.js';

const specOf = (more: Partial<CreateJob> = {}) =>
  resolveSpec({ model: 'tiny', training_file: 'file-1', ...more }, { trainingRecords: 10 });
const needed = (more: Partial<CreateJob> = {}) => neededWords(specOf(more), null);

it('knows every method of the registry, their fields and choices', () => {
  const words = buildWords();
  expect(words).toEqual(expect.arrayContaining(methods.map(({ name }) => `peft:${name}`)));
  expect(words).toEqual(
    expect.arrayContaining([
      'peft:LORA.eva_config.rho',
      'peft:LORA.init_lora_weights=corda',
      'option:validation_split',
      'option:optimizer=lorafa',
      'task:dpo.beta',
      'operation:export.format=gguf',
      'quantization:nf4',
      'model:lfm2',
      'rope:longrope',
      ENDS_EARLY,
    ]),
  );
  expect(OLDEST_WORDS).not.toContain(ENDS_EARLY);
  expect(new Set(words).size).toBe(words.length);
});

it('needs what a job uses, and nothing that has its default', () => {
  expect(needed()).toEqual([
    'peft:LORA',
    'peft:LORA.r',
    'peft:LORA.lora_alpha',
    'peft:LORA.target_modules',
    'task:causal_lm',
    'option:learning_rate',
  ]);
  expect(needed({ peft: { peft_type: 'LORA', use_dora: true } })).toContain('peft:LORA.use_dora');
  expect(needed({ peft: { peft_type: 'LORA', init_lora_weights: 'pissa_niter_4' } })).toEqual(
    expect.arrayContaining([
      expect.stringMatching(/^peft:LORA.init_lora_weights=[/].*pissa_niter/),
    ]),
  );
  expect(needed({ peft: null })[0]).toBe('peft:FULL');
  const options = { validation_split: 0.1, quantization: 'nf4', task: 'orpo' };
  expect(needed({ graft: { ...options, task_options: { beta: 0.3 } } })).toEqual(
    expect.arrayContaining([
      ...['option:validation_split', 'quantization:nf4', 'task:orpo', 'task:orpo.beta'],
    ]),
  );
});

it('a split by labels is a thing of its own', () => {
  const graft = { task: 'seq_cls', validation_split: 0.1 };
  expect(needed({ graft })).toEqual(
    expect.arrayContaining(['option:stratify_by_column', 'option:stratify_by_column=label']),
  );
  const random = needed({ graft: { ...graft, stratify_by_column: null } });
  expect(random.filter((word) => word.includes('stratify'))).toEqual([]);
  expect(OLDEST_WORDS.filter((word) => word.includes('stratify'))).toEqual([]);
});

it('a split by a seed of its own is a thing of its own', () => {
  const graft = { validation_split: 0.1 };
  expect(needed({ graft })).toContain('option:split_seed');
  expect(needed({ graft: { ...graft, split_seed: null } })).not.toContain('option:split_seed');
});

it('an operation needs no more than itself', () => {
  const operation = { type: 'export', format: 'gguf', quantization: 'Q4_K_M' } as const;
  expect(neededWords({ ...specOf(), operation }, null)).toEqual([
    'operation:export',
    'operation:export.format',
    'operation:export.format=gguf',
    'operation:export.quantization',
    'operation:export.quantization=Q4_K_M',
  ]);
});

it('sequences beyond the first length of LongRoPE are a thing of their own', () => {
  const config = {
    model_type: 'phi3',
    hidden_size: 3072,
    intermediate_size: 8192,
    num_hidden_layers: 1,
    num_attention_heads: 24,
    vocab_size: 320,
    max_position_embeddings: 131_072,
    original_max_position_embeddings: 4096,
    rope_scaling: {
      type: 'longrope',
      short_factor: Array<number>(64).fill(1),
      long_factor: Array<number>(64).fill(2),
    },
  };
  const at = (max_seq_len?: number) =>
    neededWords(specOf({ graft: { max_seq_len: max_seq_len ?? null } }), config);
  expect(at()).toEqual(expect.arrayContaining(['model:phi3', 'rope:longrope']));
  expect(at()).not.toContain('rope:longrope.long');
  expect(at(4096)).not.toContain('rope:longrope.long');
  expect(at(8192)).toContain('rope:longrope.long');
});

it('a base whose heads read a sum of all layers is of this build, not of those that refused it', () => {
  const base = { model_type: 'wav2vec2', use_weighted_layer_sum: true };
  expect(neededWords(specOf(), base)).toContain('config:use_weighted_layer_sum');
  expect(neededWords(specOf(), { model_type: 'wav2vec2' })).not.toContain(
    'config:use_weighted_layer_sum',
  );
  expect(missingInWords(['config:use_weighted_layer_sum'])).toBe(
    "config.json's use_weighted_layer_sum",
  );
});

it('a decoder without a head for tokens is of this build, not of those that refused it', () => {
  const sizes = { hidden_size: 8, intermediate_size: 8, num_hidden_layers: 1, vocab_size: 8 };
  const headless = {
    ...sizes,
    model_type: 'llama',
    num_attention_heads: 1,
    tie_word_embeddings: false,
    architectures: ['LlamaModel'],
  };
  expect(neededWords(specOf(), headless)).toContain('config:architectures');
  expect(neededWords(specOf(), { ...headless, tie_word_embeddings: true })).not.toContain(
    'config:architectures',
  );
});

it('a worker lacks what it does not say; one that says nothing is taken for the oldest', () => {
  const known = buildWords();
  expect(OLDEST_WORDS.filter((word) => !known.includes(word))).toEqual([]);
  const lacked = (words: string[], operations: string[] = []) =>
    lackedWords(wordsSaid(words, operations));
  expect(lacked(known)).toEqual([]);
  const other = [...known.slice(1), 'peft:FROM_THE_FUTURE'];
  expect(lacked(other, ['operation:merge'])).toEqual(known.slice(0, 1));
  // What a later build alone knows is kept as it was said: jobs made by one need it.
  expect(wordsSaid(other, [])).toEqual(other);
  const silent = lacked([], ['operation:merge']);
  expect(silent.filter((word) => needed().includes(word))).toEqual([]);
  expect(silent).toEqual(expect.arrayContaining(['peft:VERA', 'task:dpo', 'operation:export']));
  expect(silent).not.toContain('operation:merge');
});

it('sends a worker nothing that it does not know and the job does not use', () => {
  const spec = specOf({
    peft: { peft_type: 'LORA', use_rslora: true },
    graft: { seed: 1 } as object,
  });
  const lacks = ['peft:LORA.use_dora', 'peft:LORA.use_rslora', 'option:loraplus_lr_embedding'];
  const sent = withoutUnknown(spec, lacks);
  expect(sent['peft']).not.toHaveProperty('use_dora');
  expect(sent['peft']).toMatchObject({ use_rslora: true, lora_dropout: 0 });
  expect(sent).not.toHaveProperty('loraplus_lr_embedding');
  expect(sent).not.toHaveProperty('validation_split');
  expect(withoutUnknown(spec, [])).toMatchObject({ loraplus_lr_embedding: 1e-6, peft: spec.peft });
});

it('says what is missing: a method, and not each of its fields', () => {
  expect(missingInWords(['peft:VERA', 'peft:VERA.r', 'peft:LORA.init_lora_weights=corda'])).toBe(
    'method VERA; method LORA, init_lora_weights=corda',
  );
  expect(missingInWords(['rope:longrope.long', 'option:validation_split'])).toBe(
    'rotary positions longrope, long; option validation_split',
  );
});
