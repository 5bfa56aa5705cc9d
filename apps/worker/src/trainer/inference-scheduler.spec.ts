// Concurrent embedding requests, on a real base with real adapters.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { InferRequest } from '@graft/contracts';
import { answersTo, BARE_BASE, loadBase, setThreads, taskFor } from '@graft/peft-core';
import type { Base, BatchContext, DecoderBatch } from '@graft/peft-core';
import { mul, type Tensor } from '@graft/kernels';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { writeTinyBase } from '../../../../test/tiny-base.js';
import { collecting, type FlatAnswer } from '../../test/flat-answers.js';
import type { AdapterSource, AskCommand } from '../protocol/protocol.js';
import { AttachedAdapters } from './attached-adapters.js';
import { InferenceScheduler } from './inference-scheduler.js';
import { WorkMark } from './work-mark.js';

const GOLDEN = join(import.meta.dirname, '../../../../test/golden/llama');
const OPTIONS = { scale: 20, similarity_fct: 'cos_sim', pooling_mode: 'mean' };

let dir: string;
let base: Base;
let adapters: AttachedAdapters;
beforeAll(() => {
  setThreads(1);
  dir = mkdtempSync(join(tmpdir(), 'graft-vectors-'));
  base = loadBase(writeTinyBase(dir), { dtype: 'f32', quantization: null });
  adapters = new AttachedAdapters(base);
});
afterAll(() => {
  base.dispose();
  rmSync(dir, { recursive: true, force: true });
});

const adapter = (name: string): AdapterSource => ({ key: name, dir: join(GOLDEN, name) });

const ask = (
  id: string,
  texts: readonly string[],
  { adapter = null, ...changes }: Partial<InferRequest> & { adapter?: AdapterSource | null } = {},
): AskCommand<'infer'> => ({
  type: 'ask',
  kind: 'infer',
  id,
  payload: {
    task: 'feature_extraction',
    options: OPTIONS,
    inputs: texts.map((text) => ({ text })),
    ...changes,
  },
  adapter,
  file: null,
});

function scheduler() {
  const facts: FlatAnswer[] = [];
  const it = new InferenceScheduler(base, adapters, collecting(facts), new WorkMark(null));
  const of = (id: string) => facts.filter((fact) => fact.id === id);
  const vectors = (id: string): number[][] =>
    of(id)
      .flatMap(({ answers = [] }) => answers)
      .map((one) => {
        const { buffer, byteOffset, length } = Buffer.from(one as string, 'base64');
        return [...new Float32Array(buffer.slice(byteOffset, byteOffset + length))];
      });
  const all = (): void => {
    while (it.busy) it.work(0);
  };
  return { it, facts, of, vectors, all };
}

/** Vector with NaN, as from weights that overflow. */
const nan = (hidden: Tensor): Tensor => mul(hidden, NaN);

const far = (a: readonly number[][], b: readonly number[][]): number =>
  Math.max(...a.flatMap((row, i) => row.map((value, j) => Math.abs(value - b[i]![j]!))));

it('gives each input its vector, of length 1, and counts the tokens', () => {
  const { it: answers, of, vectors, all } = scheduler();
  answers.start(ask('one', ['abc', 'de']));
  all();
  expect(of('one')).toMatchObject([{ last: true, prompt_tokens: 5, errorCode: null }]);
  const { infer } = taskFor('feature_extraction');
  const examples = infer!
    .encode([{ text: 'abc' }, { text: 'de' }], base.processor, {
      maxSeqLen: 100,
      vocabSize: 96,
      taskOptions: OPTIONS,
    })
    .map(({ example }) => example);
  const shares = [{ run: BARE_BASE, examples, options: OPTIONS }];
  const expected = answersTo(infer!, base.model, shares) as number[][];
  expect(far(vectors('one'), expected)).toBeLessThan(1e-6);
  for (const vector of vectors('one')) expect(Math.hypot(...vector)).toBeCloseTo(1, 5);
});

it('returns the same vectors for batched adapters and the base as for each alone', () => {
  const texts = Array.from({ length: 30 }, (_, i) => 'the quick brown fox '.slice(0, 2 + (i % 17)));
  const commands = (): AskCommand<'infer'>[] => [
    ask('base', texts),
    ask('lora', texts, { adapter: adapter('embed') }),
    ask('prompt', texts, {
      adapter: adapter('embed-prompt'),
      options: { ...OPTIONS, pooling_mode: 'cls' },
    }),
    ask('again', texts.slice(0, 3), { adapter: adapter('embed') }),
  ];
  const together = scheduler();
  for (const command of commands()) together.it.start(command);
  together.all();
  for (const command of commands()) {
    const alone = scheduler();
    alone.it.start(command);
    alone.all();
    expect(far(together.vectors(command.id), alone.vectors(command.id)), command.id).toBeLessThan(
      1e-5,
    );
  }
  expect(far(together.vectors('lora'), together.vectors('base'))).toBeGreaterThan(1e-3);
});

it('does not let a request wait for all inputs of another', () => {
  const { it: answers, facts, all } = scheduler();
  answers.start(
    ask(
      'many',
      Array.from({ length: 500 }, () => 'abcdef'),
    ),
  );
  answers.start(ask('one', ['abc']));
  all();
  const ends = facts.filter(({ last }) => last).map(({ id }) => id);
  expect(ends).toEqual(['one', 'many']);
});

it('splits many vectors into facts that fit in a frame', () => {
  const { it: answers, of, vectors, all } = scheduler();
  const texts = Array.from({ length: 2048 }, (_, i) => 'ab'.slice(i % 2));
  answers.start(ask('many', texts));
  all();
  expect(vectors('many')).toHaveLength(2048);
  for (const fact of of('many')) expect(JSON.stringify(fact).length).toBeLessThan(2 ** 19);
});

it('rejects an input that is too long by index, and tasks that generate text', () => {
  const { it: answers, facts, all } = scheduler();
  answers.start(ask('long', ['a', 'b'.repeat(129)]));
  answers.start(ask('virtual', ['b'.repeat(126)], { adapter: adapter('embed-prompt') }));
  answers.start(ask('chat', ['a'], { task: 'causal_lm' }));
  all();
  expect(facts.map(({ id, errorCode }) => [id, errorCode])).toEqual([
    ['long', 'invalid_value'],
    ['virtual', 'invalid_value'],
    ['chat', 'internal_error'],
  ]);
  expect(facts[0]?.errorMessage).toBe('input 1 has 129 tokens; the model supports at most 128');
  expect(facts[1]?.errorMessage).toBe('input 0 has 126 tokens; the model supports at most 125');
});

it('rejects an input whose windows together exceed a forward pass', () => {
  const { it: answers, facts } = scheduler();
  // Like a context that does not fit, it is read in several windows.
  const { infer } = taskFor('feature_extraction');
  const encode = infer!.encode.bind(infer);
  infer!.encode = (...of) =>
    encode(...of).map((one) => ({ ...one, example: { ...one.example, rows: 9000 } }));
  answers.start(ask('windows', ['abc']));
  infer!.encode = encode;
  expect(facts[0]).toMatchObject({ errorCode: 'invalid_value' });
  expect(facts[0]?.errorMessage).toBe('input 0 has 9,000 tokens; the model supports at most 8,192');
});

it('fails a request with a non-finite vector, and completes the others', () => {
  const { it: answers, of, vectors, all } = scheduler();
  const { model } = base;
  const forward = model.forward.bind(model);
  // Inputs with a "z" give NaN, as from weights that overflow in bf16.
  const z = base.tokenizer.encode('z')[0]!;
  model.forward = ((batch: DecoderBatch, ctx: BatchContext) => {
    const made = forward(batch, ctx);
    const bad = (batch.decoder.inputs as Int32Array).includes(z);
    return bad ? { ...made, decoder: { ...made.decoder, hidden: nan(made.decoder.hidden) } } : made;
  }) as typeof model.forward;
  answers.start(ask('good', ['abc']));
  answers.start(ask('bad', ['az']));
  all();
  model.forward = forward;
  expect(vectors('good')).toHaveLength(1);
  expect(of('bad')).toMatchObject([{ last: true, errorCode: 'nonfinite' }]);
});

it('fails only the request with invalid inputs', () => {
  const { it: answers, of, vectors, all } = scheduler();
  answers.start(ask('good', ['abc']));
  answers.start(ask('bad', [], { inputs: [{ tokens: [5, 96] }] }));
  answers.start(ask('cancelled', ['abc']));
  answers.cancel('cancelled');
  all();
  expect(of('bad')).toMatchObject([{ last: true, errorCode: 'invalid_value' }]);
  expect(of('bad')[0]?.errorMessage).toMatch(/no token 96.*below 96/);
  expect(vectors('good')).toHaveLength(1);
  expect(of('cancelled')).toEqual([]);
});
