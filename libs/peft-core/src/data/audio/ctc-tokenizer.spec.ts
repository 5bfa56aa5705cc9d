// Compares with transformers' CTC tokenizer (test/golden/stems/ctc.py).
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { CtcTokenizer } from './ctc-tokenizer.js';
import {
  blankOf,
  charactersIn,
  charactersOf,
  vocabularyOf,
  vocabularySize,
} from './derived-vocabulary.js';

interface Golden {
  readonly name: string;
  readonly files: Readonly<Record<string, Readonly<Record<string, unknown>>>>;
  readonly encoded: readonly { readonly text: string; readonly ids: readonly number[] }[];
  readonly decoded: readonly { readonly text: string; readonly ids: readonly number[] }[];
}
const GOLDEN = join(import.meta.dirname, '../../../../../test/golden/ctc-tokenizers.json');
const goldens = JSON.parse(readFileSync(GOLDEN, 'utf8')) as Golden[];

const padOf = ({ files }: Golden): number => {
  const name = files['tokenizer_config.json']?.['pad_token'];
  return files['vocab.json']?.[name as string] as number;
};

const open = ({ files }: Pick<Golden, 'files'>, vocabSize = 100, blank = 0): CtcTokenizer =>
  new CtcTokenizer(
    { vocabulary: files['vocab.json']!, tokenizerConfig: files['tokenizer_config.json'] ?? {} },
    { blank, vocabSize },
  );

describe.each(goldens.map((golden) => [golden.name, golden] as const))('%s', (_, golden) => {
  const tokenizer = open(golden, 100, padOf(golden));

  it.each(golden.encoded.map(({ text, ids }) => [text, ids] as const))(
    'encodes %j',
    (text, ids) => {
      if (ids.includes(tokenizer.blank))
        expect(() => tokenizer.encode(text)).toThrow(
          'the text contains "<pad>", which stands for no character',
        );
      else expect(tokenizer.encode(text)).toEqual(ids);
    },
  );

  it('decodes', () => {
    expect(golden.decoded.length).toBeGreaterThan(5);
    for (const { ids, text } of golden.decoded) expect(tokenizer.decode(ids)).toBe(text);
  });
});

describe('a vocabulary created from texts', () => {
  const golden = goldens.find(({ name }) => name === 'from_data')!;
  const texts = golden.encoded.map(({ text }) => text).join('');
  const letters = charactersOf(texts);

  it("equals that of transformers' script, and can be read from its files", () => {
    const made = vocabularyOf(letters);
    expect(made.vocabulary).toEqual(golden.files['vocab.json']);
    expect(golden.files['tokenizer_config.json']).toMatchObject(made.tokenizerConfig);
    expect([vocabularySize(letters), blankOf(letters)]).toEqual([padOf(golden) + 1, padOf(golden)]);
    expect(charactersIn(made)).toEqual(letters);
    expect(charactersIn({ vocabulary: goldens[0]!.files['vocab.json']!, tokenizerConfig: {} })).toBe(null); // prettier-ignore
  });

  it('is in the order of code points, whatever the order of the texts, and always has a space', () => {
    expect(charactersOf('漢\u{1F600}b\uFFFDa|')).toEqual([
      ' ',
      'a',
      'b',
      '漢',
      '\uFFFD',
      '\u{1F600}',
    ]);
    const spelt = vocabularyOf(['b', 'a']);
    expect(spelt.vocabulary).toEqual({ b: 0, a: 1, '|': 2, '[UNK]': 3, '[PAD]': 4 });
    expect(charactersIn(spelt)).toEqual(['b', 'a', ' ']);
  });

  it('knows its characters, and encodes missing tokens as their characters', () => {
    const tokenizer = new CtcTokenizer(vocabularyOf([' ', '<', 's']), { blank: 4, vocabSize: 5 });
    expect(tokenizer.encode('<s> >')).toEqual([1, 2, 3, 0, 3]);
    expect(['<', ' ', '>'].map((one) => tokenizer.knows(one))).toEqual([true, true, false]);
    expect(['a', 'É', 'ß', '\t'].map((one) => open(goldens[1]!).knows(one))).toEqual([true, false, true, false]); // prettier-ignore
  });
});

const upper = goldens[0]!;
const changed = (changes: object): Pick<Golden, 'files'> => ({
  files: {
    ...upper.files,
    'tokenizer_config.json': { ...upper.files['tokenizer_config.json'], ...changes },
  },
});

it('rejects text that the base cannot output', () => {
  expect(() => open(upper, 9).encode('TEH')).toThrow(
    'the text contains "H", which the base does not write',
  );
  const without = { files: { 'vocab.json': { '<pad>': 0, '|': 1, a: 2 } } };
  expect(open(without, 3).encode('a a')).toEqual([2, 1, 2]);
  expect(() => open(without, 3).encode('ab')).toThrow(
    'the text contains "b", which the base does not',
  );
});

it('accepts any number of spaces, and removes those around tokens', () => {
  const spaces = ' '.repeat(1_000_000);
  const ids = open(upper).encode(`T${spaces}H${spaces}<unk>${spaces}<s> <s>`);
  const [t, h] = open(upper).encode('TH');
  const [unknown, start] = [open(upper).unknown, open(upper).encode('<s>')[0]];
  expect(ids[0]).toBe(t);
  expect(ids.lastIndexOf(open(upper).delimiter)).toBe(spaces.length);
  expect(ids.slice(spaces.length + 1)).toEqual([h, unknown, start, start]);
});

it.each([
  ['another blank', upper, 3, /"<pad>", the pad_token, has the id 0; .* pad_token_id 3/],
  [
    'another class',
    changed({ tokenizer_class: 'Wav2Vec2PhonemeCTCTokenizer' }),
    0,
    /tokenizer_class/,
  ],
  ['one of several languages', changed({ target_lang: 'eng' }), 0, /target_lang/],
  [
    'vocabularies by language',
    { files: { 'vocab.json': { eng: { a: 1 } } } },
    0,
    /vocab.json: eng/,
  ],
])('rejects %s', (_, golden, blank, message) => {
  expect(() => open(golden, 100, blank)).toThrow(message);
});
