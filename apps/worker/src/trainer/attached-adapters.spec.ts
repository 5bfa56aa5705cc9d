// Adapters that take long to attach, in parts between other requests, on a real base.
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { loadBase, memory, setThreads, type Base } from '@graft/peft-core';
import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import { writeTinyBase } from '../../../../test/tiny-base.js';
import { collecting, type FlatAnswer } from '../../test/flat-answers.js';
import type { AskCommand } from '../protocol/protocol.js';
import { AttachedAdapters } from './attached-adapters.js';
import { GenerationScheduler } from './generation-scheduler.js';
import { InferenceScheduler } from './inference-scheduler.js';
import { WorkMark } from './work-mark.js';

const GOLDEN = join(import.meta.dirname, '../../../../test/golden/llama');

let dir: string;
const bases: Base[] = [];
beforeAll(() => {
  setThreads(1);
  dir = mkdtempSync(join(tmpdir(), 'graft-adapters-'));
  writeTinyBase(dir);
});
afterAll(() => {
  for (const base of bases) base.dispose();
  rmSync(dir, { recursive: true, force: true });
});

const ask = (id: string, folder: string | null = null): AskCommand<'generate'> => ({
  type: 'ask',
  kind: 'generate',
  id,
  payload: {
    messages: null,
    prompt: 'abcde',
    max_tokens: 40,
    temperature: 0,
    top_p: 1,
    seed: 1,
    stop: [],
  },
  adapter: folder === null ? null : { key: folder, dir: folder },
  file: null,
});

/** @param pieceMs 0 for one module per part */
function scheduler(pieceMs: number) {
  const facts: FlatAnswer[] = [];
  const progress: number[] = [];
  const send = collecting(facts);
  // A base of its own, since run IDs are unique per base.
  const base = loadBase(dir, { dtype: 'f32', quantization: null });
  bases.push(base);
  const adapters = new AttachedAdapters(base, {
    pieceMs,
    onProgress: (done) => progress.push(done),
  });
  const mark = new WorkMark(null);
  const answers = new GenerationScheduler(base, adapters, send, mark);
  const vectors = new InferenceScheduler(base, adapters, send, mark);
  const all = (): void => {
    while (answers.busy || vectors.busy) {
      answers.work(0);
      vectors.work(0);
    }
  };
  const of = (wanted: string) => facts.filter(({ id }) => id === wanted);
  const text = (id: string): string =>
    of(id)
      .map((fact) => fact.text)
      .join('');
  return { base, answers, vectors, told: progress, of, text, all };
}

it.each(['osf', 'frod', 'adamss', 'lora'])(
  '%s: is attached in parts between other requests, with the same results',
  (name) => {
    const folder = join(GOLDEN, name);
    const whole = scheduler(Infinity);
    whole.answers.start(ask('mine', folder));
    whole.all();
    const pieces = scheduler(0);
    pieces.answers.start(ask('other'));
    for (const id of ['mine', 'too']) pieces.answers.start(ask(id, folder));
    expect(pieces.told).toEqual([1]);
    let before = 0;
    while (pieces.of('mine').length === 0) {
      pieces.answers.work(0);
      before += 1;
    }
    // Each turn generates a token of the other request and attaches a module.
    expect(before).toBeGreaterThanOrEqual(Math.max(...pieces.told));
    expect(pieces.of('other').length).toBeGreaterThan(2);
    pieces.all();
    for (const id of ['mine', 'too']) {
      expect(pieces.of(id).at(-1)?.errorCode).toBeNull();
      expect(pieces.text(id)).toBe(whole.text('mine'));
    }
    expect(pieces.text('other')).not.toBe(pieces.text('mine'));
  },
);

it('frod: decomposes each weight once, before its first rows', () => {
  const { base, answers, all } = scheduler(0);
  const seen = base.model.modules.linears().map(({ path, weight }) => {
    const dense = vi.spyOn(weight, 'dense');
    return { path, times: () => dense.mock.calls.length };
  });
  answers.start(ask('mine', join(GOLDEN, 'frod')));
  all();
  const times = new Map(seen.map(({ path, times: of }) => [path, of()]));
  const isTarget = (path: string): boolean => /[qv]_proj$/.test(path);
  expect([...times].filter(([path, n]) => n !== (isTarget(path) ? 1 : 0))).toEqual([]);
});

it('embeddings wait in the same way, and report an adapter that does not fit', () => {
  const broken = join(dir, 'broken');
  cpSync(join(GOLDEN, 'adamss'), broken, { recursive: true });
  const path = join(broken, 'adapter_config.json');
  const config = JSON.parse(readFileSync(path, 'utf8')) as object;
  writeFileSync(path, JSON.stringify({ ...config, random_seed: 7, num_subspaces: 2 }));
  const { answers, vectors, of, all } = scheduler(0);
  answers.start(ask('other'));
  all();
  const before = memory().tensors;
  for (const id of ['first', 'again']) {
    vectors.start({
      type: 'ask',
      kind: 'infer',
      id,
      payload: {
        task: 'feature_extraction',
        options: { scale: 20, similarity_fct: 'cos_sim', pooling_mode: 'mean' },
        inputs: [{ text: 'abc' }],
      },
      adapter: { key: 'broken', dir: broken },
      file: null,
    });
    expect(of(id)).toEqual([]);
    all();
    expect(of(id)).toMatchObject([{ last: true, errorCode: 'invalid_adapter' }]);
  }
  expect(memory().tensors).toBe(before);
});

it('cancels an attachment that is no longer needed and releases its resources', () => {
  const { answers, told: progress, of, all } = scheduler(0);
  const before = memory().tensors;
  for (const id of ['one', 'two']) answers.start(ask(id, join(GOLDEN, 'frod')));
  answers.work(0);
  answers.cancel('one');
  const until = progress.length;
  answers.work(0);
  expect(progress.length).toBe(until + 1);
  answers.cancel('two');
  expect(answers.busy).toBe(false);
  expect(memory().tensors).toBe(before);
  answers.start(ask('other'));
  all();
  expect(of('other').at(-1)?.finish_reason).toBe('length');
  expect([...of('one'), ...of('two')]).toEqual([]);
});
