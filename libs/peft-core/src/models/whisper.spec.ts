import { expect, it } from 'vitest';
import { footprintOf, resolveSpec } from '../catalog.js';
import { outlineOf } from './registry.js';

const tiny = {
  model_type: 'whisper',
  d_model: 384,
  encoder_layers: 4,
  encoder_ffn_dim: 1536,
  encoder_attention_heads: 6,
  decoder_layers: 4,
  decoder_ffn_dim: 1536,
  decoder_attention_heads: 6,
};
const large = {
  ...tiny,
  vocab_size: 51866,
  num_mel_bins: 128,
  d_model: 1280,
  encoder_layers: 32,
  encoder_ffn_dim: 5120,
  encoder_attention_heads: 20,
  decoder_layers: 32,
  decoder_ffn_dim: 5120,
  decoder_attention_heads: 20,
};

it.each([
  ['whisper-tiny', tiny, 37_760_640],
  ['whisper-large-v3', large, 1_543_490_560],
])('has the parameters of %s', (_, config, parameters) => {
  const peft = { peft_type: 'LORA', target_modules: ['q_proj'] };
  expect(footprintOf(peft, config).totalParameters).toBe(parameters);
});

it('reads 30 seconds at 50 rows per second', () => {
  const outline = outlineOf(tiny);
  expect([outline.inputKind, outline.maxPositions]).toEqual(['audio', 1500]);
  expect(outline.inputRows([80, 3000])).toBe(1500);
  expect(() => outline.inputRows([80, 2999])).toThrow(
    'expected a spectrogram of 80 × 3000 (mel, frames), got 80 × 2999',
  );
});

it.each([
  ['an untied head', { tie_word_embeddings: false }, /tie_word_embeddings: false/],
  ['another number of decoder heads', { decoder_attention_heads: 8 }, /decoder_attention_heads: 8/],
  ['SpecAugment', { apply_spec_augment: true }, /apply_spec_augment: true/],
  [
    'SpecAugment of features',
    { apply_spec_augment: true, mask_time_prob: 0, mask_feature_prob: 0.1 },
    /apply_spec_augment: true/,
  ],
])('rejects %s', (_, changed, message) => {
  expect(() => outlineOf({ ...tiny, ...changed })).toThrow(message);
});

it('accepts SpecAugment without masking', () => {
  const config = { ...tiny, apply_spec_augment: true, mask_time_prob: 0, mask_feature_prob: 0 };
  expect(() => outlineOf(config)).not.toThrow();
});

const LABELS = { kind: 'classification', outputs: 3 } as const;

// parameter counts of Transformers' WhisperForAudioClassification with three labels
it.each([
  ['whisper-tiny', tiny, 8_307_715],
  ['whisper-large-v3', large, 637_297_667],
])('classifies with the encoder of %s alone', (_, config, parameters) => {
  const outline = outlineOf(config, LABELS);
  expect(footprintOf(null, config, false, LABELS)).toMatchObject({
    trainableParameters: parameters,
    totalParameters: parameters,
  });
  expect(outline).toMatchObject({ stackCount: 1, attendingLayers: 0, tokenEmbedding: null });
  expect(outline.linears().filter(({ path }) => path.includes('decoder'))).toEqual([]);
  expect(outline.made.map(({ path, outFeatures }) => [path, outFeatures])).toEqual([
    ['projector', 256],
    ['classifier', 3],
  ]);
});

it('has no decoder if its files have none', () => {
  const labels = { ...tiny, architectures: ['WhisperForAudioClassification'] };
  const outline = outlineOf(labels);
  expect(outline).toMatchObject({ vocabSize: 0, startToken: null, targetPositions: null });
  expect(outlineOf(labels, LABELS).linears()).toEqual(outlineOf(tiny, LABELS).linears());
});

const job = (peft: object, task?: string) =>
  resolveSpec(
    {
      model: 'base',
      training_file: 'file',
      peft: { peft_type: 'LORA', ...peft },
      ...(task === undefined ? {} : { graft: { task } }),
    } as never,
    { trainingRecords: 8, modelType: 'whisper' },
  );

it('trains transcription unless a job sets another task', () => {
  expect(job({}).task).toBe('speech_seq_2_seq');
  expect(job({}, 'audio_cls').task).toBe('audio_cls');
});

it('requires patterns for classification that also match the paths of an encoder alone', () => {
  for (const target_modules of ['.*q_proj', 'model\\.encoder\\..*q_proj', 'all-linear'])
    expect(job({ target_modules }, 'audio_cls').peft).toMatchObject({ target_modules });
  expect(() => job({ target_modules: 'encoder\\..*q_proj' }, 'audio_cls')).toThrow(
    expect.objectContaining({
      param: 'peft.target_modules',
      message: expect.stringContaining('begins with model. or with .*') as string,
    }),
  );
});

it.each(['LORA', 'LOHA', 'LOKR', 'HIRA'])(
  'rejects %s at its convolutions, where Transformers cannot run it',
  (peft_type) => {
    expect(() => footprintOf({ peft_type, target_modules: ['conv1', 'q_proj'] }, tiny)).toThrow(
      expect.objectContaining({
        code: 'unsupported',
        param: 'peft.target_modules',
        message: expect.stringContaining(
          'model.encoder.conv1: transformers reads its stride',
        ) as string,
      }),
    );
  },
);

it('trains all weights of a convolution in modules_to_save', () => {
  const peft = { peft_type: 'LORA', r: 1, target_modules: ['encoder.layers.0.self_attn.q_proj'] };
  const count = (modules_to_save: string[]): number =>
    footprintOf({ ...peft, modules_to_save }, tiny).trainableParameters;
  expect(count(['conv1']) - count([])).toBe(384 * 80 * 3 + 384);
});

it.each([
  { peft_type: 'PROMPT_TUNING', num_virtual_tokens: 2 },
  { peft_type: 'PREFIX_TUNING', num_virtual_tokens: 2 },
])('rejects %j, because an audio encoder reads no virtual tokens', (peft) => {
  expect(() => footprintOf(peft, tiny)).toThrow(
    expect.objectContaining({ param: 'peft.peft_type' }),
  );
});
