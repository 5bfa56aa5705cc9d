// Log probabilities and structured outputs of chats, with a whole installation and the official SDK.
import { createRequire } from 'node:module';
import type OpenAI from 'openai';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Installation, until } from './installation.js';

let graft: Installation;
beforeAll(async () => {
  graft = await Installation.start({});
  graft.startWorker('a');
  await graft.importTinyBase();
  await until('the worker to be connected', async () => {
    const overview = await graft.openai.get('/overview');
    return (overview as { workers_online: number }).workers_online === 1;
  });
});
afterAll(() => graft.stop());

const ask = {
  model: 'tiny',
  messages: [{ role: 'user' as const, content: 'what is 3 plus 3?' }],
  max_completion_tokens: 12,
  temperature: 0,
};

it('returns the log probabilities of tokens, streamed or not', async () => {
  const chat = { ...ask, logprobs: true, top_logprobs: 3 };
  const whole = await graft.openai.chat.completions.create(chat);
  const [choice] = whole.choices;
  const content = choice?.logprobs?.content ?? [];
  expect(content.map(({ token }) => token).join('')).toBe(choice?.message.content);
  expect(content.length).toBeGreaterThan(0);
  for (const { token, logprob, bytes, top_logprobs } of content) {
    expect(Buffer.from(bytes ?? []).toString()).toBe(token);
    // greedy: the sampled token is the most likely one
    expect(top_logprobs).toHaveLength(3);
    expect(top_logprobs[0]).toEqual({ token, logprob, bytes });
    expect(logprob).toBeLessThan(0);
    expect(logprob).toBeGreaterThanOrEqual(top_logprobs[1]?.logprob ?? 0);
  }
  const streamed: unknown[] = [];
  for await (const chunk of await graft.openai.chat.completions.create({ ...chat, stream: true })) {
    const [part] = chunk.choices;
    const said = part?.logprobs?.content ?? [];
    expect(said.map(({ token }) => token).join('')).toBe(part?.delta.content ?? '');
    streamed.push(...said);
  }
  expect(streamed).toEqual(content);
  const plain = await graft.openai.chat.completions.create(ask);
  expect(plain.choices[0]).toMatchObject({ logprobs: null, message: choice?.message });
});

it('returns the log probabilities of a completion in the legacy format', async () => {
  const text = { model: 'tiny', prompt: 'what is', max_tokens: 8, temperature: 0, logprobs: 2 };
  const { choices } = await graft.openai.completions.create(text);
  const { tokens, token_logprobs, top_logprobs, text_offset } = choices[0]?.logprobs ?? {};
  // special tokens have no text
  const texts = (tokens ?? []).map((token) => (token === '<unk>' ? '' : token));
  expect(texts.join('')).toBe(choices[0]?.text);
  expect(text_offset).toEqual(texts.map((_, i) => texts.slice(0, i).join('').length));
  tokens?.forEach((token, i) => {
    expect(Object.keys(top_logprobs?.[i] ?? {})).toHaveLength(2);
    expect(top_logprobs?.[i]?.[token]).toBe(token_logprobs?.[i]);
  });
});

it('rejects top_logprobs without logprobs', () =>
  expect(graft.openai.chat.completions.create({ ...ask, top_logprobs: 2 })).rejects.toMatchObject({
    status: 400,
    param: 'top_logprobs',
  }));

// the package that the API uses
const { Ajv2020 } = createRequire(new URL('../../apps/api/package.json', import.meta.url))(
  'ajv/dist/2020.js',
) as { Ajv2020: new () => { validate(schema: object, value: unknown): boolean } };
const ajv = new Ajv2020();

const digits = { type: 'string', pattern: '^[0-9]{1,4}$' };
type Schema = Readonly<Record<string, unknown>>;
const SCHEMAS: readonly Schema[] = [
  { type: 'object', properties: { a: { type: 'boolean' }, b: { type: 'integer' } }, required: ['a', 'b'], additionalProperties: false },
  { type: 'array', items: { enum: ['red', 'blue', 3, null] }, minItems: 1, maxItems: 4 },
  { type: 'object', properties: { id: digits, next: { anyOf: [{ type: 'null' }, { type: 'object', properties: { id: digits }, required: ['id'] }] } }, required: ['id', 'next'] },
  { type: 'object', properties: { score: { type: 'number', minimum: 0, maximum: 1 }, name: { type: 'string', maxLength: 6 } }, required: ['score'] },
]; // prettier-ignore

describe('a structured output', () => {
  const held = (
    schema: Schema,
    more: Partial<OpenAI.ChatCompletionCreateParamsNonStreaming> = {},
  ) =>
    graft.openai.chat.completions.create({
      ...ask,
      messages: [{ role: 'user', content: 'JSON!' }],
      temperature: 1,
      max_completion_tokens: 100,
      response_format: { type: 'json_schema', json_schema: { name: 'it', schema, strict: true } },
      ...more,
    });

  it.each(SCHEMAS)(
    'matches its schema with an untrained model and any seed: %j',
    async (schema) => {
      const seeds = Array.from({ length: 8 }, (_, seed) => seed);
      const answers = await Promise.all(seeds.map((seed) => held(schema, { seed })));
      for (const { choices } of answers) {
        const [{ message, finish_reason } = {}] = choices;
        expect(finish_reason).toBe('stop');
        expect(ajv.validate(schema, JSON.parse(message?.content ?? '')), message?.content ?? '').toBe(true); // prettier-ignore
      }
      expect(
        new Set(answers.map(({ choices }) => choices[0]?.message.content)).size,
      ).toBeGreaterThan(1);
    },
  );

  it('is streamed, with the finish reason "length" if truncated', async () => {
    const schema = { type: 'array', items: { const: 'again and again' }, minItems: 9 };
    let text = '';
    let reason: string | null = null;
    const stream = await graft.openai.chat.completions.create({
      ...ask,
      max_completion_tokens: 30,
      stream: true,
      response_format: { type: 'json_schema', json_schema: { name: 'it', schema } },
    });
    for await (const { choices } of stream) {
      text += choices[0]?.delta.content ?? '';
      reason = choices[0]?.finish_reason ?? reason;
    }
    expect(text.replaceAll(/\s/g, '')).toMatch(/^\["againandagain"?,?/);
    expect(reason).toBe('length');
  });

  it('is a JSON object for json_object', async () => {
    const { choices } = await held({}, { response_format: { type: 'json_object' } });
    const [{ message, finish_reason } = {}] = choices;
    if (finish_reason === 'stop') expect(JSON.parse(message?.content ?? '')).toBeTypeOf('object');
    expect(message?.content).toMatch(/^\{/);
  });

  it('fails alone if its pattern is too complex', async () => {
    const counted = Array.from({ length: 90 }, (_, i) => `.*.{${900 + i}}`);
    const growing = held({ type: 'string', pattern: `^(${counted.join('|')})$` });
    const concurrent = held(SCHEMAS[1] as Schema, { seed: 1 });
    await expect(growing).rejects.toMatchObject({
      status: 413,
      code: 'request_too_large',
      message: expect.stringContaining('too many ways') as unknown,
    });
    const { choices } = await concurrent;
    expect(choices[0]?.finish_reason).toBe('stop');
  });

  it('is rejected if the vocabulary cannot express it', () =>
    expect(held({ const: 'größe' })).rejects.toMatchObject({
      status: 400,
      message: expect.stringContaining('no tokens') as unknown,
    }));
});
