import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { mapSafetensors } from '@graft/kernels';
import { describe, expect, it } from 'vitest';
import { Processor } from '../data/processor.js';
import type { Tokenizer } from '../data/text/tokenizer.js';
import { answersTo } from '../generate/inference.js';
import type { HfConfig } from '../nn/hf-files.js';
import { buildModel } from '../models/registry.js';
import { featureExtraction } from './feature-extraction.js';
import { vectorSize } from './heads/model-use.js';

// One token per character, between a start and an end token, as in BERT.
const [BEGIN, END] = [1, 2];
const tokenizer = {
  encodeCut: (texts: readonly string[], maxLength: number) =>
    texts.map((text) => {
      const kept = Array.from(text, (c) => c.charCodeAt(0)).slice(0, maxLength - 2);
      const ids = Int32Array.from([BEGIN, ...kept, END]);
      return { ids, longest: text.length + 2 };
    }),
} as unknown as Tokenizer;
const processor = new Processor({ tokenizer });

const encode = (record: Record<string, unknown>, maxSeqLen = 1000) =>
  featureExtraction.encode(
    [featureExtraction.prepare(record, processor, featureExtraction.options.parse({}))],
    processor,
    {
      maxSeqLen,
    },
  )[0]!;
const text = (ids: Int32Array): string =>
  [...ids].map((id) => (id === BEGIN ? '^' : id === END ? '$' : String.fromCharCode(id))).join('');

describe('feature_extraction records', () => {
  it.each([
    ['a pair', { anchor: 'a', positive: 'b' }, 'pair'],
    ['a triplet', { anchor: 'a', positive: 'b', negative: 'c' }, 'triplet'],
  ])('accepts %s', (_, record, format) => {
    expect(featureExtraction.check(record)).toBeNull();
    expect(featureExtraction.facts(record).format).toBe(format);
    expect(encode(record).example.texts.map(text)).toEqual(
      Object.values(record).map((one) => `^${one}$`),
    );
  });

  it.each([
    [{}, /\{"anchor","positive"\}.*no keys/],
    [{ text: 'a' }, /this one has the keys "text"/],
    [{ anchor: 'a' }, /"positive" is missing/],
    [{ anchor: 1, positive: 'b' }, /"anchor" must be a string/],
    [{ anchor: 'a', positive: '' }, /"positive" is empty/],
    [{ anchor: 'a', positive: 'b', negative: null }, /"negative" must be a string/],
    [{ anchor: 'a', positive: 'b', negative: 'b' }, /are the same/],
    [{ anchor: 'a', positive: 'b', label: 1 }, /unknown key "label"; supported: anchor/],
  ])('rejects %j', (record, reason) => {
    expect(featureExtraction.check(record)).toMatch(reason);
  });

  it('truncates each text separately, as the tokenizer does', () => {
    const { example, longest, lost } = encode({ anchor: 'abcdef', positive: 'xy' }, 5);
    expect(example.texts.map(text)).toEqual(['^abc$', '^xy$']);
    expect({ longest, lost, rows: example.rows }).toEqual({ longest: 8, lost: false, rows: 9 });
  });
});

describe('an inference input', () => {
  const { infer } = featureExtraction;

  it('may be a text or token ids', () => {
    const records = ['abc', [7, 8], 'd'].map((input) => infer!.record(input));
    const encoded = infer!.encode(records, processor, {
      maxSeqLen: 100,
      vocabSize: 200,
      taskOptions: featureExtraction.options.parse({}),
    });
    expect(encoded.map(({ example }) => [...example.texts[0]!].length)).toEqual([5, 2, 3]);
    expect([...encoded[1]!.example.texts[0]!]).toEqual([7, 8]);
  });

  it.each([[''], [[]], [[1, 'a']], [[-1]], [[1.5]], [{ text: 'a' }], [null]])(
    'must not be %j',
    (input) => {
      expect(() => infer!.record(input)).toThrow(/empty text|expected a text/);
    },
  );
});

it('returns embeddings of the output width if blocks have another width', () => {
  const base = join(import.meta.dirname, '../../../../test/golden/opt-projected/base');
  const config = JSON.parse(readFileSync(join(base, 'config.json'), 'utf8')) as HfConfig;
  const file = mapSafetensors(join(base, 'model.safetensors'));
  const model = buildModel(config, file.tensors, { dtype: 'f32', quantization: null });
  try {
    const texts: (readonly Int32Array[])[] = [
      [5, 6, 7],
      [8, 9],
      [5, 6, 7],
    ].map((ids) => [Int32Array.from(ids)]);
    const examples = texts.map((one) => ({ texts: one, rows: 3, tokenCount: 3 }));
    const options = featureExtraction.options.parse({});
    const vectors = answersTo(featureExtraction.infer!, model, [
      { run: 1, examples, options },
    ]) as number[][];
    expect(vectorSize(config)).toBe(config['word_embed_proj_dim']);
    expect(vectors.map(({ length }) => length)).toEqual([16, 16, 16]);
    for (const vector of vectors) expect(Math.hypot(...vector)).toBeCloseTo(1, 5);
    vectors[0]!.forEach((value, i) => expect(vectors[2]![i]).toBeCloseTo(value, 5));
  } finally {
    model.dispose();
    file.close();
  }
});
