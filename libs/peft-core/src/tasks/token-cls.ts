/**
 * Token classification: a tag for each word, as in Transformers' models. z: logits of a token, [tags].
 *   loss = -log softmax(z)_y     mean over the words of an optimizer step, each by its first token
 */
import { DomainError } from '@graft/contracts';
import {
  add,
  backward,
  crossEntropy,
  indexSelect,
  mul,
  noGrad,
  softmax,
  tensor,
  tidy,
  to,
} from '@graft/kernels';
import type { Tensor } from '@graft/kernels';
import { z } from 'zod';
import type { JsonObject } from '../data/json-line.js';
import type { Tokenizer } from '../data/text/tokenizer.js';
import type { Model } from '../models/model.js';
import type { BatchContext } from '../nn/context.js';
import { entitiesOf, hasEntities, keyOf } from './labels/entities.js';
import { headOutputs, type TypedSequence } from './heads/head-outputs.js';
import {
  inOrder,
  isAmong,
  isLabel,
  labelConfig,
  labelNames,
  MOST_LABELS,
  notAmong,
  numberOf,
  type Label,
} from './labels/labels.js';
import { missingFormat, unknownKey } from './records/record-checks.js';
import { defineTask, mean, type Encoded, type EncodeOptions, type Example } from './task.js';
import type { Share, Sums, Survey } from './task.js';

interface TaggedWords extends Example, TypedSequence {
  readonly words: readonly string[];
  /** Indices of the words that have a token. Truncated words have none. */
  readonly read: Int32Array;
  /** First token of each of these words. */
  readonly places: Int32Array;
  /** Tag of each of these words. Empty if there are no targets. */
  readonly target: Int32Array;
}

interface Prepared {
  readonly words: readonly string[];
  readonly target: Int32Array;
}

const Options = z.strictObject({ labels: labelNames });
type Options = z.infer<typeof Options>;

const KEYS = ['tokens', 'tags'];
const MOST_WORDS = 16_384;

export const tokenCls = defineTask<TaggedWords, Prepared, Options>({
  name: 'token_cls',
  title: 'Token classification',
  summary:
    'Learns a tag for each word, such as names of people and places or parts of speech. For encoders.',
  peft: {
    taskType: 'TOKEN_CLS',
    models: 'TokenClassification',
    pipeline: 'token-classification',
  },
  stacks: ['encoder'],
  method: 'supervised',
  head: {
    kind: 'token_classification',
    outputs: ({ labels }) => labels?.length ?? 2,
    config: ({ labels }) => labelConfig(labels ?? []),
  },
  options: Options,
  records: [
    {
      name: 'tagged_words',
      keys: KEYS,
      cells: { tokens: 'json', tags: 'json' },
      commonKeys: true,
      nouns: ['sentence with tags', 'sentences with tags'],
      line: '{"tokens":["…","…"],"tags":["O","B-PER"]}',
      learnt: ['tags'],
    },
  ],
  check(record) {
    const { tokens, tags } = record;
    if (tokens === undefined && tags === undefined)
      return missingFormat(record, '{"tokens","tags"}');
    return unknownKey(record, KEYS) ?? checkWords(tokens) ?? checkTags(tags, tokens as unknown[]);
  },
  facts: ({ tokens, tags }) => ({
    format: 'tagged_words',
    ignored: [],
    identity: [JSON.stringify(tokens), JSON.stringify(tags)],
    chats: [],
  }),
  survey: (options) => new TagSurvey(options),
  prepare: ({ tokens, tags }, _, { labels }) => ({
    words: tokens as string[],
    target: Int32Array.from(tags as Label[], (tag) => numberOf(tag, labels ?? [])),
  }),
  encode: (prepared, { tokenizer }, options) => encoded(prepared, tokenizer, options),
  supervisedRows: ({ places }) => places,
  units: ({ target }) => target.length,
  loss(model, shares, ctx, scales) {
    const outputs = outputsOf(model, shares, ctx);
    const sums = new Map<number, Sums>();
    const weighed = shares.map(({ run, examples, options }, i) => {
      const logits = outputs[i] as Tensor;
      const wanted = examples.flatMap(({ target }) => [...target]);
      const y = tensor(BigInt64Array.from(wanted, BigInt), [wanted.length]);
      const loss = crossEntropy(logits, y, { reduction: 'sum' });
      const found = likeliest(noGrad(() => logits.detach()));
      const totals = { loss: loss.item(), ...counted(found, examples, options) };
      sums.set(run, { units: wanted.length, totals });
      return mul(loss, scales?.get(run) ?? 0);
    });
    if (scales) backward([weighed.reduce((a, b) => add(a, b))], [null]);
    return sums;
  },
  infer: {
    kind: 'classify',
    record(input) {
      const words = typeof input === 'string' ? input.split(/\s+/).filter(Boolean) : input;
      const wrong = checkWords(words);
      if (wrong !== null)
        throw new DomainError('invalid_value', 'expected a text or a non-empty list of words');
      return { tokens: words };
    },
    encode: (records, { tokenizer }, options) =>
      encoded(
        records.map(({ tokens }) => ({ words: tokens as string[], target: new Int32Array() })),
        tokenizer,
        options,
      ),
    answer: (model, shares, ctx) =>
      tidy(() => {
        const outputs = outputsOf(model, shares, ctx);
        return shares.flatMap((share, i) => answers(outputs[i] as Tensor, share));
      }),
  },
  chance: (_, { task_options: options }) => {
    const count = (options as Options).labels?.length ?? 2;
    return { loss: Math.log(count), of: `among ${count} tags`, isStart: true };
  },
  metrics: [
    {
      name: 'loss',
      title: 'Loss',
      unit: null,
      draw: { smooth: true, log: true },
      of: mean('loss'),
    },
    {
      name: 'accuracy',
      title: 'Word accuracy',
      unit: '%',
      draw: { smooth: true, log: false },
      of: mean('right'),
    },
    {
      name: 'f1',
      title: 'Entity F1',
      unit: '%',
      draw: { smooth: true, log: false },
      of: ({ totals: { both, found, real } }) =>
        both === undefined ? null : (2 * both) / Math.max(1, (found ?? 0) + (real ?? 0)),
    },
  ],
});

function checkWords(tokens: unknown): string | null {
  if (!Array.isArray(tokens)) return '"tokens" must be a list of words';
  if (tokens.length === 0) return '"tokens" is empty: there is nothing to learn';
  if (tokens.length > MOST_WORDS)
    return `"tokens" has ${tokens.length} words; at most ${MOST_WORDS} are allowed`;
  const wrong = tokens.findIndex((word) => typeof word !== 'string' || word.trim() === '');
  return wrong < 0 ? null : `"tokens"[${wrong}] must be a word`;
}

function checkTags(tags: unknown, tokens: readonly unknown[]): string | null {
  if (!Array.isArray(tags)) return '"tags" must be a list with one tag for each of "tokens"';
  if (tags.length !== tokens.length)
    return `"tags" has ${tags.length} entries, but "tokens" has ${tokens.length}`;
  const wrong = tags.findIndex((tag) => !isLabel(tag));
  return wrong < 0 ? null : `"tags"[${wrong}] must be a name of at most 200 characters or a number`;
}

class TagSurvey implements Survey<Options> {
  readonly #found = new Set<string>();

  constructor(private readonly given: Options) {}

  see({ tags }: JsonObject): string | null {
    const { labels } = this.given;
    for (const tag of tags as readonly Label[]) {
      if (labels === null) this.#found.add(String(tag));
      else if (!isAmong(tag, labels)) return notAmong(tag, labels);
    }
    return this.#found.size > MOST_LABELS
      ? `there are more than ${MOST_LABELS} different tags`
      : null;
  }

  options(): Options {
    const labels = this.given.labels ?? inOrder(this.#found);
    if (labels.length > 1) return { labels };
    throw new DomainError(
      'invalid_training_file',
      'all words have the same tag: there is nothing to distinguish',
      'training_file',
    );
  }
}

/** Tokenizes words. Words that do not fit are truncated at the end. */
function encoded(
  prepared: readonly Prepared[],
  tokenizer: Tokenizer,
  { maxSeqLen }: EncodeOptions,
): Encoded<TaggedWords>[] {
  const all = tokenizer.encodeWords(
    prepared.map(({ words }) => words),
    maxSeqLen,
  );
  return all.map(({ ids, places, longest }, i) => {
    const { words, target } = prepared[i] as Prepared;
    const read = Int32Array.from(places.keys()).filter((word) => (places[word] as number) >= 0);
    const wanted = target.length === 0 ? target : read.map((word) => target[word] as number);
    return {
      example: {
        words,
        tokens: ids,
        types: null,
        read,
        places: places.filter((place) => place >= 0),
        target: wanted,
        rows: ids.length,
        tokenCount: ids.length,
      },
      longest,
      supervised: wanted.length,
      lost: read.length === 0,
    };
  });
}

/** Returns the outputs for the first token of each word, by share: [words, tags]. */
function outputsOf(
  model: Model,
  shares: readonly Share<TaggedWords, Options>[],
  ctx: BatchContext,
): Tensor[] {
  const read = shares.map(({ run, examples }) => ({ run, sequences: examples }));
  return headOutputs(model, read, ctx).map((logits, i) => {
    let start = 0;
    const places = (shares[i] as Share<TaggedWords>).examples.flatMap((example) => {
      const before = start;
      start += example.rows;
      return [...example.places].map((place) => before + place);
    });
    const rows = tensor(BigInt64Array.from(places, BigInt), [places.length]);
    return to(indexSelect(logits, 0, rows), 'f32');
  });
}

interface Likely {
  readonly label: number;
  readonly value: number;
}

function likeliest(rows: Tensor): Likely[] {
  const [n, width] = rows.shape as [number, number];
  const values = rows.toArray() as Float32Array;
  return Array.from({ length: n }, (_, i) => {
    const row = values.subarray(i * width, (i + 1) * width);
    const label = row.reduce((best, value, k) => (value > (row[best] as number) ? k : best), 0);
    return { label, value: row[label] as number };
  });
}

/** Counts the right words and, for entities, those predicted, those in the target and those in both. */
function counted(
  found: readonly Likely[],
  examples: readonly TaggedWords[],
  { labels }: Options,
): Record<string, number> {
  const names = labels ?? [];
  const totals: Record<string, number> = { right: 0 };
  if (hasEntities(names)) Object.assign(totals, { both: 0, found: 0, real: 0 });
  const add = (name: string, value: number): void =>
    void (totals[name] = (totals[name] ?? 0) + value);
  let at = 0;
  for (const { target } of examples) {
    const mine = found.slice(at, (at += target.length)).map(({ label }) => label);
    add('right', mine.filter((label, i) => label === target[i]).length);
    if (totals['both'] === undefined) continue;
    const [ours, theirs] = [mine, [...target]].map((tags) =>
      entitiesOf(tags.map((tag) => names[tag] ?? null)).map(keyOf),
    ) as [string[], string[]];
    const real = new Set(theirs);
    add('found', ours.length);
    add('real', theirs.length);
    add('both', ours.filter((key) => real.has(key)).length);
  }
  return totals;
}

/** Returns the words with their tags. Truncated words have the tag null. */
function answers(logits: Tensor, { examples, options }: Share<TaggedWords, Options>): JsonObject[] {
  const found = likeliest(softmax(logits, -1));
  const names = options.labels ?? [];
  let at = 0;
  return examples.map(({ words, read }) => {
    const tags: (string | null)[] = words.map(() => null);
    const probabilities: (number | null)[] = words.map(() => null);
    for (const word of read) {
      const { label, value } = found[at++] as Likely;
      tags[word] = names[label] ?? null;
      probabilities[word] = value;
    }
    const entities = entitiesOf(tags).map(({ type, from, to: last }) => ({
      type,
      text: words.slice(from, last + 1).join(' '),
      from,
      to: last,
    }));
    return { tokens: words, tags, probabilities, ...(hasEntities(names) ? { entities } : {}) };
  });
}
