import { readFileSync } from 'node:fs';
import { Spec, type DataReport } from '@graft/contracts';
import { expect, it } from 'vitest';
import { mapSafetensors } from '@graft/kernels';
import { BARE_BASE } from '../nn/batch.js';
import type { HfConfig } from '../nn/hf-files.js';
import { buildModel } from '../models/registry.js';
import { answerSizes, runBytes, sizesOf, sizesOfReports, tooLarge } from './run-bytes.js';

const CONFIG = {
  model_type: 'llama',
  vocab_size: 32_000,
  hidden_size: 2048,
  intermediate_size: 5632,
  num_hidden_layers: 22,
  num_attention_heads: 32,
  num_key_value_heads: 4,
  max_position_embeddings: 2048,
  rms_norm_eps: 1e-5,
};
const TINY = new URL('../../../../test/golden/wav2vec2/base/config.json', import.meta.url);
const SOUNDS = { ...(JSON.parse(readFileSync(TINY, 'utf8')) as HfConfig), num_hidden_layers: 12 };
const SIZES = { rows: 2048, evaluatedRows: 0, dataBytes: 0 };
const spec = (gradient_checkpointing: boolean): Spec =>
  Spec.parse({
    model: 'base',
    task: 'causal_lm',
    peft: { peft_type: 'LORA', r: 16, target_modules: 'all-linear' },
    seed: 0,
    batch_size: 4,
    n_epochs: 1,
    learning_rate: 1e-4,
    gradient_checkpointing,
  });

it('counts the inputs of all layers and one layer with its gradients with gradient checkpointing', () => {
  const [kept, recomputed] = [false, true].map((on) => runBytes(spec(on), CONFIG, SIZES));
  const logits = 256 * 32_000 * 10;
  const inputs = 2048 * 22 * 2048 * 2;
  const oneLayer = (kept!.activations - logits) / 22;
  expect(recomputed!.activations).toBeCloseTo(inputs + 2 * oneLayer + logits, 0);
  expect(recomputed!.state).toBe(kept!.state);
});

it('counts one layer for an evaluation that is longer than any step, with and without checkpointing', () => {
  const sizes = { ...SIZES, rows: 8, evaluatedRows: 2048 };
  const [kept, recomputed] = [false, true].map((on) => runBytes(spec(on), CONFIG, sizes));
  const inputs = 8 * 22 * 2048 * 2;
  expect(recomputed!.activations).toBeCloseTo(kept!.activations + inputs, 0);
});

it('advises gradient_checkpointing if activations are too large, unless it is on', () => {
  const of = (on: boolean) => {
    const bytes = runBytes(spec(on), CONFIG, { ...SIZES, rows: on ? 80_000 : 8192 });
    expect(bytes.activations).toBeGreaterThan(bytes.state);
    return tooLarge(spec(on), bytes, 2e9, 'this worker');
  };
  expect(of(false)).toMatchObject({
    code: 'no_memory',
    param: 'graft.gradient_checkpointing',
    message: expect.stringMatching(
      /; set graft\.gradient_checkpointing, or lower graft\.max_seq_len or hyperparameters\.batch_size$/,
    ) as string,
  });
  expect(of(true)).toMatchObject({
    param: 'graft.max_seq_len',
    message: expect.stringMatching(
      /has at most \S+ GB; lower graft\.max_seq_len or hyper/,
    ) as string,
  });
});

it('does not advise gradient_checkpointing if it saves nothing: LoRA-GA, or a large audio front end', () => {
  const start: Spec = {
    ...spec(false),
    peft: {
      peft_type: 'LORA',
      r: 16,
      target_modules: 'all-linear',
      init_lora_weights: 'lora_ga',
    },
  };
  const begins = runBytes(start, CONFIG, { ...SIZES, rows: 8192 });
  expect(begins.spared).toBe(0);
  expect(tooLarge(start, begins, 2e9, 'this worker').param).toBe('graft.max_seq_len');
  const goesOn = runBytes(start, CONFIG, { ...SIZES, rows: 8192 }, true);
  expect(goesOn.spared).toBeGreaterThan(goesOn.activations / 2);
  const heard: Spec = { ...spec(false), task: 'ctc' };
  const sizes = { ...SIZES, rows: 500, longest: 30_000 };
  expect(runBytes(heard, SOUNDS, sizes).spared).toBe(0);
  expect(runBytes(heard, SOUNDS, { ...sizes, longest: 500 }).spared).toBeGreaterThan(0);
});

it('counts the keys and values of all answers if they need more than a step', () => {
  const answers = answerSizes(spec(false), CONFIG, [1000, 3000], 0);
  expect(answers).toEqual({ rows: 128, bytes: (4000 + 2 * 64) * 22 * 2 * 4 * 64 * 2 });
  const sizes = { ...SIZES, rows: 8 };
  const [plain, asked] = [{}, { answers }].map((more) =>
    runBytes(spec(false), CONFIG, { ...sizes, ...more }),
  );
  expect(asked?.activations).toBe(answers.bytes);
  const grown = (asked?.total ?? 0) - (plain?.total ?? 0);
  expect(grown).toBeCloseTo(answers.bytes - (plain?.activations ?? 0), 0);
  const long = { ...SIZES, rows: 8192 };
  expect(runBytes(spec(false), CONFIG, { ...long, answers })).toEqual({
    ...runBytes(spec(false), CONFIG, long),
    answers: answers.bytes,
  });
  // if there are few, reading the prompts takes more rows than a step
  const read = answerSizes({ ...spec(false), sample_max_tokens: 1 }, CONFIG, [100], 0);
  expect(runBytes(spec(false), CONFIG, { ...sizes, answers: read })).toEqual({
    ...runBytes(spec(false), CONFIG, { ...sizes, evaluatedRows: 100 }),
    answers: read.bytes,
  });
});

it('advises fewer sample_prompts only if the answers need the most memory', () => {
  const answers = answerSizes(spec(false), CONFIG, [60_000, 60_000], 0);
  const of = (on: boolean, rows: number) =>
    tooLarge(spec(on), runBytes(spec(on), CONFIG, { ...SIZES, rows, answers }), 2e9, 'this worker');
  for (const on of [false, true])
    expect(of(on, 8)).toMatchObject({
      code: 'no_memory',
      param: 'graft.sample_prompts',
      message: expect.stringMatching(
        /moments, 2\.7 GB for answers to sample prompts,.* has at most \S+ GB; use fewer or shorter graft\.sample_prompts, or lower graft\.sample_max_tokens$/,
      ) as string,
    });
  expect(of(false, 8192)).toMatchObject({
    param: 'graft.gradient_checkpointing',
    message: expect.stringContaining(' for activations, ') as string,
  });
});

it.each(['llama', 'gpt2', 'falcon', 'lfm2', 't5', 'bart', 'mixtral', 'gemma3_text', 'smollm3'])(
  'counts the bytes of the KV cache for answers: %s',
  (family) => {
    const folder = new URL(`../../../../test/golden/${family}/base/`, import.meta.url).pathname;
    const config = JSON.parse(readFileSync(`${folder}config.json`, 'utf8')) as HfConfig;
    const file = mapSafetensors(`${folder}model.safetensors`);
    const model = buildModel(config, file.tensors, { dtype: 'bf16', quantization: null });
    const cache = model.cache();
    const prompts = [5, 7];
    const { bytes } = answerSizes({ ...spec(false), sample_max_tokens: 3 }, config, prompts, 2);
    const rows = (model.stacks.encoder ? 2 : 1) * 12 + 2 * (3 + 2);
    const [row, beside] = [cache.bytesPerRow(BARE_BASE), cache.extraBytes(BARE_BASE)];
    expect(bytes).toBe(rows * row + 2 * beside);
    cache.dispose();
    model.dispose();
    file.close();
  },
);

it('estimates sizes from reports as if every example were the largest, up to a micro-batch', () => {
  const example = (rows: number) => ({ rows, tokenCount: rows, tokens: new Int32Array(rows) });
  const report = (rows: readonly number[]): DataReport => {
    const examples = rows.map(example);
    const { dataBytes } = sizesOf(spec(false), examples, []);
    const largest_rows = Math.max(...rows);
    return { examples: rows.length, largest_rows, memory_bytes: dataBytes } as DataReport;
  };
  const sizes = (training: readonly number[], validation: readonly number[]) => ({
    told: sizesOfReports(spec(false), {
      training: report(training),
      validation: validation.length > 0 ? report(validation) : null,
    }),
    real: sizesOf(spec(false), training.map(example), validation.map(example)),
  });
  for (const [training, validation] of [
    [[100, 100, 100, 100, 100, 100], []], // equal
    [[100, 100], [90]], // fewer examples than a step has
    [
      [900, 900, 900, 900],
      [900, 900, 900],
    ], // more than one micro-batch
    [[3000, 3000, 3000, 3000], []], // each example alone
  ] as const) {
    const { told, real } = sizes(training, validation);
    expect(told).toEqual(real);
  }
  const { told, real } = sizes([400, 10, 10, 10, 10], [300, 10]);
  expect(real).toMatchObject({ rows: 430, evaluatedRows: 310 });
  expect(told).toMatchObject({ rows: 1600, evaluatedRows: 600, longest: 400 });
  const spelling: Spec = { ...spec(false), task: 'ctc' };
  const sounds = sizesOfReports(spelling, {
    training: report([400, 10]),
    validation: report([500]),
  });
  expect(sounds.transcriptTokens).toBe(
    sizesOf(spelling, [400, 10].map(example), [example(500)]).transcriptTokens,
  );
});
