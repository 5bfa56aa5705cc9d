import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { mapSafetensors, noGrad, tidy } from '@graft/kernels';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { attachMethod } from '../methods/frame/attach-method.js';
import { Generation } from '../generate/generation.js';
import { ModelOptions } from '../nn/outline/stack-options.js';
import { footprintOf } from '../methods/frame/base-footprint.js';
import { phi3 } from './phi3.js';
import { readHf } from './frame/hf-config.js';
import type { Model } from './model.js';
import type { HfConfig } from '../nn/hf-files.js';
import { buildModel, outlineOf } from './registry.js';
import { stepTogether } from '../generate/step-together.js';

const phi4mini = {
  model_type: 'phi3',
  vocab_size: 200_064,
  hidden_size: 3072,
  intermediate_size: 8192,
  num_hidden_layers: 32,
  num_attention_heads: 24,
  num_key_value_heads: 8,
  max_position_embeddings: 131_072,
  original_max_position_embeddings: 4096,
  partial_rotary_factor: 0.75,
  rope_theta: 10_000,
  rope_scaling: {
    type: 'longrope',
    short_factor: Array<number>(48).fill(1),
    long_factor: Array<number>(48).fill(2),
  },
  sliding_window: 262_144,
  tie_word_embeddings: true,
};
const decoderOf = (config: typeof phi4mini) =>
  ModelOptions.parse(phi3.options(readHf(config, phi3.hf), 'phi3')).decoder;

describe('config.json', () => {
  it('has the parameters of Phi-4-mini', () => {
    const outline = outlineOf(phi4mini);
    const tied = new Set(outline.tied().map(([head]) => head));
    const sizes = [
      ...outline
        .linears()
        .filter((linear) => !tied.has(linear))
        .map(({ inFeatures, outFeatures }) => outFeatures * inFeatures),
      ...outline.norms().map(({ features }) => features),
      ...outline.embeddings().map(({ rows, columns }) => rows * columns),
    ];
    expect(sizes.reduce((a, b) => a + b)).toBe(3_836_021_760);
  });

  it('rotates three quarters of each head, with other factors beyond the original length', () => {
    expect(decoderOf(phi4mini)).toMatchObject({
      rotaryDim: 96,
      maxPositions: 131_072,
      defaultMaxSeqLen: 4096,
      rope: {
        rope_type: 'longrope',
        attention_factor: Math.sqrt(1 + Math.log(32) / Math.log(4096)),
      },
    });
  });

  it('limits sequences with virtual tokens to the original length', () => {
    const maxTokens = (peft: object) =>
      footprintOf({ peft_type: 'LORA', ...peft }, phi4mini).maxTokens;
    const num_virtual_tokens = 96;
    expect(maxTokens({})).toBe(131_072);
    expect(maxTokens({ peft_type: 'PREFIX_TUNING', num_virtual_tokens })).toBe(131_072 - 96);
    expect(maxTokens({ peft_type: 'PROMPT_TUNING', num_virtual_tokens })).toBe(4000);
    expect(() => maxTokens({ peft_type: 'PROMPT_TUNING', num_virtual_tokens: 4096 })).toThrow(
      'leave no positions for input: the model has 4096',
    );
  });

  it.each(['su', 'yarn'])('accepts %s, an earlier name of LongRoPE', (type) => {
    const scaling = { ...phi4mini.rope_scaling, type };
    expect(decoderOf({ ...phi4mini, rope_scaling: scaling })).toEqual(decoderOf(phi4mini));
  });

  it('has all positions without scaling', () => {
    const plain = { ...phi4mini, rope_scaling: null, max_position_embeddings: 16_384 };
    expect(outlineOf(plain).maxPositions).toBe(16_384);
  });

  it('has one linear layer with the roles gate and up', () => {
    const roles = (wanted: 'gate' | 'up') =>
      new Set(
        outlineOf(phi4mini)
          .linears([wanted])
          .map(({ role }) => role),
      );
    expect([roles('gate'), roles('up')]).toEqual([new Set(['gate_up']), new Set(['gate_up'])]);
  });

  it.each([
    [
      'factors that do not fit the head',
      { rope_scaling: { ...phi4mini.rope_scaling, short_factor: [1, 2] } },
      /rope.short_factor: expected 48 factors, got 2/,
    ],
    [
      'factors for long sequences that do not fit the head',
      { rope_scaling: { ...phi4mini.rope_scaling, long_factor: [1, 2] } },
      /rope.long_factor: expected 48 factors, got 2/,
    ],
    [
      'a scaling without factors',
      { rope_scaling: { type: 'longrope' } },
      /decoder.rope.short_factor/,
    ],
    [
      'another kind of scaling',
      { rope_scaling: { type: 'dynamic', factor: 2 } },
      /rope_type "dynamic"/,
    ],
    [
      'a fraction above 1',
      { rope_parameters: { partial_rotary_factor: 2 } },
      /partial_rotary_factor must be a number from 0 to 1, got 2/,
    ],
  ])('rejects %s', (_, changed, message) => {
    expect(() => outlineOf({ ...phi4mini, ...changed })).toThrow(message);
  });
});

/** Base model whose sequences count as long from 9 tokens on, compared with `generate` of Transformers. */
describe('beyond the original length', () => {
  const LONGER = join(import.meta.dirname, '../../../../test/golden/phi3-longer');
  const read = <T>(name: string): T => JSON.parse(readFileSync(join(LONGER, name), 'utf8')) as T;
  const ALIKE = 8;
  let file: ReturnType<typeof mapSafetensors>;
  let model: Model;
  beforeAll(() => {
    file = mapSafetensors(join(LONGER, 'base', 'model.safetensors'));
    const config = read<HfConfig>('base/config.json');
    const longer = { ...config, original_max_position_embeddings: ALIKE };
    model = buildModel(longer, file.tensors, { dtype: 'f32', quantization: null });
  });
  afterAll(() => {
    model.dispose();
    file.close();
  });

  const context = { training: false, runs: new Map() };
  /** Returns the hidden states of packed sequences. */
  const hidden = (...all: readonly (readonly number[])[]): number[] => {
    let start = 0;
    const decoder = {
      inputs: Int32Array.from(all.flat()),
      positions: Int32Array.from(all.flatMap((tokens) => tokens.map((_, i) => i))),
      sequences: all.map(({ length }) => ({ run: 0, start: (start += length) - length, length })),
    };
    const forward = () => model.forward({ encoder: null, decoder }, context).decoder.hidden;
    return noGrad(() => tidy(() => [...(forward().toArray() as Float32Array)]));
  };
  const apart = (a: readonly number[], b: readonly number[]): number =>
    Math.max(...a.map((value, i) => Math.abs(value - (b[i] as number))));

  it('rotates each sequence by its own length, whatever is packed with it', () => {
    const [short, long] = [
      [5, 17, 42, 8],
      [5, 17, 42, 8, 23, 60, 3, 9, 71, 12],
    ] as const;
    const width = model.hiddenSize;
    const [alone, other] = [hidden(short), hidden(long)];
    const both = hidden(short, long, short);
    expect(apart(both.slice(0, 4 * width), alone)).toBeLessThan(1e-5);
    expect(apart(both.slice(4 * width, 14 * width), other)).toBeLessThan(1e-5);
    expect(apart(both.slice(14 * width), alone)).toBeLessThan(1e-5);
    // in a long sequence the second row differs, although the rows before it are the same
    expect(apart(other.slice(width, 2 * width), alone.slice(width, 2 * width))).toBeGreaterThan(
      1e-2,
    );
  });

  const base = () => ({ model, tokenizer: { eosIds: [], decode: () => '' } as never });
  const request = { messages: null, prompt: null, temperature: 0, top_p: 1, seed: 1, stop: [] };

  it.each(read<{ prompt: number[]; tokens: number[] }[]>('crossing.json'))(
    'generates the tokens of Transformers for $prompt',
    ({ prompt, tokens }) => {
      const cache = model.cache();
      const asked = { ...request, promptTokens: prompt, run: null, max_tokens: tokens.length };
      // with another completion in the same batch, and the prompt in chunks
      const answers = [new Generation(base(), cache, asked), new Generation(base(), cache, asked)];
      const [first, second] = answers as [Generation, Generation];
      first.step();
      while (!first.done || !second.done) stepTogether(base(), cache, answers, 4);
      expect(first.ids).toEqual(tokens);
      expect(second.ids).toEqual(tokens);
      expect(cache.bytes).toBe(0);
    },
  );

  it('ends a completion with virtual tokens at the original length, but not one with a prefix', () => {
    const asked = { ...request, promptTokens: [5, 17, 42], run: 1, max_tokens: 20 };
    const written = (peft: { peft_type: string }): number => {
      const adapter = attachMethod(model, { ...peft, num_virtual_tokens: 2 }, { run: 1, seed: 3 });
      const answer = new Generation(base(), model.cache(), asked);
      while (!answer.done) answer.step();
      adapter.detach();
      return answer.ids.length;
    };
    expect(written({ peft_type: 'PROMPT_TUNING' })).toBe(ALIKE - 2 - 3);
    expect(written({ peft_type: 'PREFIX_TUNING' })).toBe(20);
  });

  it('counts a prefix towards the length, and continues as if the whole text were read again', () => {
    const adapter = attachMethod(model, { peft_type: 'PREFIX_TUNING', num_virtual_tokens: 2 }, { run: 1, seed: 3 }); // prettier-ignore
    const step = (tokens: readonly number[]): number => {
      const asked = { ...request, promptTokens: tokens, run: 1, max_tokens: 1 };
      const answer = new Generation(base(), model.cache(), asked);
      answer.step();
      return answer.ids[0] as number;
    };
    const prompt = [5, 17, 42, 8];
    const answer = new Generation(base(), model.cache(), { ...request, promptTokens: prompt, run: 1, max_tokens: 8 }); // prettier-ignore
    while (!answer.done) answer.step();
    for (let at = 0; at < answer.ids.length; at++)
      expect(step([...prompt, ...answer.ids.slice(0, at)])).toBe(answer.ids[at]);
    adapter.detach();
  });
});
