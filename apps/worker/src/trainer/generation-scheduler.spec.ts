// Generation requests that share a KV cache limit, on a real base.
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { GenerateRequest } from '@graft/contracts';
import { BARE_BASE, loadBase, setThreads, type Base, type KvCache } from '@graft/peft-core';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { writeTinyBase } from '../../../../test/tiny-base.js';
import { collecting, type FlatAnswer } from '../../test/flat-answers.js';
import { encodeFact } from '../protocol/fact-frames.js';
import type { AskCommand, Fact } from '../protocol/protocol.js';
import { AttachedAdapters } from './attached-adapters.js';
import { GenerationScheduler } from './generation-scheduler.js';
import { WorkMark } from './work-mark.js';

let dir: string;
let base: Base;
let make: () => KvCache;
let cache: KvCache;
beforeAll(() => {
  setThreads(1);
  dir = mkdtempSync(join(tmpdir(), 'graft-answers-'));
  base = loadBase(writeTinyBase(dir), { dtype: 'f32', quantization: null });
  make = base.model.cache.bind(base.model);
});
afterAll(() => {
  base.dispose();
  rmSync(dir, { recursive: true, force: true });
});

const ask = (
  id: string,
  { cacheBytes, ...changes }: Partial<GenerateRequest> & { cacheBytes?: number } = {},
): AskCommand<'generate'> => ({
  type: 'ask',
  kind: 'generate',
  id,
  payload: {
    messages: null,
    prompt: 'abcde',
    max_tokens: 15,
    temperature: 0,
    top_p: 1,
    seed: 1,
    stop: [],
    ...changes,
  },
  adapter: null,
  file: null,
  ...(cacheBytes !== undefined && { cacheBytes }),
});

function scheduler() {
  cache = make();
  base.model.cache = () => cache;
  const facts: FlatAnswer[] = [];
  const it = new GenerationScheduler(
    base,
    new AttachedAdapters(base),
    collecting(facts),
    new WorkMark(null),
  );
  const ends = () => facts.filter(({ last }) => last);
  return { it, facts, ends };
}

/** A prompt of 5 tokens and 15 more. */
const rows = (answers: number): number => answers * 20 * cache.bytesPerRow(BARE_BASE);

it('never exceeds the KV cache limit, and processes all requests in order', () => {
  const { it: answers, ends } = scheduler();
  for (let n = 0; n < 100; n++) answers.start(ask(`${n}`, { cacheBytes: rows(3.5) }));
  let most = 0;
  while (answers.busy) {
    answers.work(0);
    most = Math.max(most, cache.bytes);
  }
  expect(most).toBeGreaterThan(rows(2));
  expect(most).toBeLessThanOrEqual(rows(3));
  expect(cache.bytes).toBe(0);
  expect(ends().map(({ id }) => Number(id))).toEqual(Array.from({ length: 100 }, (_, n) => n));
  expect(new Set(ends().map(({ errorCode }) => errorCode))).toEqual(new Set([null]));
});

it('rejects a request that never fits and states how many tokens would', () => {
  const { it: answers, ends } = scheduler();
  answers.start(ask('good', { cacheBytes: rows(1) }));
  answers.start(ask('long', { max_tokens: 90, cacheBytes: rows(1) }));
  answers.start(ask('prompt', { prompt: 'a'.repeat(50), cacheBytes: rows(1) }));
  expect(ends().map(({ id, errorCode }) => [id, errorCode])).toEqual([
    ['long', 'request_too_large'],
    ['prompt', 'request_too_large'],
  ]);
  expect(ends()[0]?.errorMessage).toMatch(/lower max_tokens to 15 or less$/);
  expect(ends()[1]?.errorMessage).toMatch(/shorten the prompt to less than 20 tokens$/);
  while (answers.busy) answers.work(0);
  answers.start(ask('now', { max_tokens: 15, cacheBytes: rows(1) }));
  while (answers.busy) answers.work(0);
  expect(ends().map(({ id }) => id)).toEqual(['long', 'prompt', 'good', 'now']);
});

it('lowers a limit that may be lowered to what fits, but rejects a prompt that does not', () => {
  const { it: answers, facts, ends } = scheduler();
  const cacheBytes = rows(1);
  answers.start(ask('fits', { max_tokens: 90, may_lower_max_tokens: true, cacheBytes }));
  answers.start(ask('prompt', { prompt: 'a'.repeat(50), may_lower_max_tokens: true, cacheBytes }));
  while (answers.busy) answers.work(0);
  expect(ends().map(({ id, errorCode }) => [id, errorCode])).toEqual([
    ['prompt', 'request_too_large'],
    ['fits', null],
  ]);
  expect(facts.findLast(({ id }) => id === 'fits')).toMatchObject({
    completion_tokens: 15,
    finish_reason: 'length',
  });
});

it('counts the convolution states of a base in addition to the KV cache', () => {
  const convolving = loadBase(writeTinyBase(join(dir, 'lfm2'), 'lfm2'), { dtype: 'f32', quantization: null }); // prettier-ignore
  const facts: FlatAnswer[] = [];
  const answers = new GenerationScheduler(convolving, new AttachedAdapters(convolving), collecting(facts), new WorkMark(null)); // prettier-ignore
  const each = convolving.model.cache();
  const cacheBytes = 20 * each.bytesPerRow(BARE_BASE) + each.extraBytes(BARE_BASE);
  answers.start(ask('more', { cacheBytes: cacheBytes - 1 }));
  expect(facts.map(({ errorMessage }) => errorMessage)).toEqual([
    expect.stringMatching(/lower max_tokens to 14 or less$/),
  ]);
  answers.start(ask('fits', { cacheBytes }));
  while (answers.busy) answers.work(0);
  expect(facts.at(-1)).toMatchObject({ id: 'fits', errorCode: null });
  convolving.dispose();
});

it('fails a request whose adapter computes NaN, and completes the others', () => {
  const folder = join(dir, 'damaged');
  cpSync(join(import.meta.dirname, '../../../../test/golden/llama/lora'), folder, {
    recursive: true,
  });
  const weights = join(folder, 'adapter_model.safetensors');
  const bytes = readFileSync(weights);
  // f32 values follow the header; all bits set is NaN.
  writeFileSync(weights, bytes.fill(0xff, 8 + Number(bytes.readBigUInt64LE(0))));
  const { it: answers, ends } = scheduler();
  const adapter = { key: folder, dir: folder };
  answers.start({ ...ask('damaged', { top_logprobs: 2 }), adapter });
  answers.start(ask('good', { top_logprobs: 2 }));
  while (answers.busy) answers.work(0);
  expect(ends().map(({ id, errorCode }) => [id, errorCode])).toEqual([
    ['damaged', 'nonfinite'],
    ['good', null],
  ]);
});

it('gives the memory of a canceled request to the next, and removes a waiting one that is canceled', () => {
  const { it: answers, ends } = scheduler();
  for (const id of ['a', 'b', 'c']) answers.start(ask(id, { cacheBytes: rows(1) }));
  answers.work(0);
  answers.cancel('b');
  answers.cancel('a');
  while (answers.busy) answers.work(0);
  expect(ends().map(({ id }) => id)).toEqual(['c']);
  expect(cache.bytes).toBe(0);
});

it('constrains one response to a format without affecting the others', () => {
  const plain = [1, 2, 3].map((seed) => ask(`plain ${seed}`, { temperature: 1, top_p: 0.9, seed }));
  const written = (commands: readonly AskCommand<'generate'>[]): Map<string, string> => {
    const { it: answers, facts } = scheduler();
    for (const command of commands) answers.start(command);
    while (answers.busy) answers.work(0);
    const texts = new Map<string, string>();
    for (const { id, text = '', errorMessage } of facts) {
      expect(errorMessage).toBeNull();
      texts.set(id, (texts.get(id) ?? '') + text);
    }
    return texts;
  };
  const alone = written(plain);
  const form = { type: 'json_schema' as const, schema: { enum: ['yes', 'no'] } };
  const together = written([
    plain[0]!,
    ask('form', { response_format: form, temperature: 1 }),
    plain[1]!,
    plain[2]!,
  ]);
  expect(['"yes"', '"no"']).toContain(together.get('form'));
  for (const [id, text] of alone) expect(together.get(id)).toBe(text);
});

it('returns the log probabilities of a tool call, whose text is held back until complete', () => {
  const folder = writeTinyBase(join(dir, 'tools'));
  change(join(folder, 'tokenizer_config.json'), {
    chat_template: '{% if tools %}<tool_call>{% endif %}',
  });
  const properties = { a: { enum: ['x', 'y'] } };
  const parameters = {
    type: 'object',
    properties,
    required: ['a'],
    additionalProperties: false,
  };
  const tools = [{ type: 'function' as const, function: { name: 'find', parameters } }];
  const facts = answered(
    folder,
    ask('call', { max_tokens: 90, top_logprobs: 1, tools: { tools, choice: 'required' } }),
  );
  const [call, ...others] = facts.flatMap(({ tool_calls = [] }) => tool_calls);
  expect([call?.name, others]).toEqual(['find', []]);
  expect(properties.a.enum).toContain((JSON.parse(call?.arguments ?? '') as { a: string }).a);
  const logprobs = facts.flatMap(({ logprobs = [] }) => logprobs);
  const text = logprobs.map(({ token }) => token).join('');
  expect(text).toMatch(/^<tool_call>\n\{"name": "find", [^<]*\}\n<\/tool_call>$/);
  expect(logprobs.map(({ start }) => start)).toEqual(Array.from(text, (_, n) => n));
  expect(facts.at(-1)).toMatchObject({ finish_reason: 'stop', completion_tokens: text.length });
});

it('splits a thousand held-back log probabilities into facts that fit in frames', () => {
  const folder = writeTinyBase(join(dir, 'long'));
  change(join(folder, 'config.json'), { max_position_embeddings: 2048 });
  const longText = 'x'.repeat(1200);
  const facts = answered(
    folder,
    ask('long', {
      max_tokens: 1300,
      top_logprobs: 20,
      response_format: { type: 'json_schema', schema: { const: longText } },
      stop: [`"${longText}y`],
    }),
  );
  expect(facts.filter((fact) => !encodeFact(fact as unknown as Fact).fits)).toEqual([]);
  expect(facts.map(({ text }) => text).join('')).toBe(`"${longText}"`);
  expect(facts.map(({ finish_reason }) => finish_reason)).toEqual([
    ...facts.slice(1).map(() => null),
    'stop',
  ]);
  const logprobs = facts.flatMap(({ logprobs = [] }) => logprobs);
  expect(logprobs.map(({ token }) => token).join('')).toBe(`"${longText}"`);
  expect(logprobs.map(({ start }) => start)).toEqual(Array.from(logprobs, (_, n) => n));
});

/** Returns the facts of a request on a separate base. */
function answered(folder: string, command: AskCommand<'generate'>): FlatAnswer[] {
  const own = loadBase(folder, { dtype: 'f32', quantization: null });
  const facts: FlatAnswer[] = [];
  const answers = new GenerationScheduler(own, new AttachedAdapters(own), collecting(facts), new WorkMark(null)); // prettier-ignore
  answers.start(command);
  while (answers.busy) answers.work(0);
  own.dispose();
  return facts;
}

function change(path: string, fields: object): void {
  const before = JSON.parse(readFileSync(path, 'utf8')) as object;
  writeFileSync(path, JSON.stringify({ ...before, ...fields }));
}
