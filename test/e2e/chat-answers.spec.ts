// What answers may have and be held to, through the real things and the official SDK.
import { afterAll, beforeAll, expect, it } from 'vitest';
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

it('tokens come with their probabilities, whole and streamed alike', async () => {
  const chat = { ...ask, logprobs: true, top_logprobs: 3 };
  const whole = await graft.openai.chat.completions.create(chat);
  const [choice] = whole.choices;
  const content = choice?.logprobs?.content ?? [];
  expect(content.map(({ token }) => token).join('')).toBe(choice?.message.content);
  expect(content.length).toBeGreaterThan(0);
  for (const { token, logprob, bytes, top_logprobs } of content) {
    expect(Buffer.from(bytes ?? []).toString()).toBe(token);
    // greedy: the likeliest
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

it('so do those of a text, in its older shape', async () => {
  const text = { model: 'tiny', prompt: 'what is', max_tokens: 8, temperature: 0, logprobs: 2 };
  const { choices } = await graft.openai.completions.create(text);
  const { tokens, token_logprobs, top_logprobs, text_offset } = choices[0]?.logprobs ?? {};
  // special tokens are no text
  const texts = (tokens ?? []).map((token) => (token === '<unk>' ? '' : token));
  expect(texts.join('')).toBe(choices[0]?.text);
  expect(text_offset).toEqual(texts.map((_, i) => texts.slice(0, i).join('').length));
  tokens?.forEach((token, i) => {
    expect(Object.keys(top_logprobs?.[i] ?? {})).toHaveLength(2);
    expect(top_logprobs?.[i]?.[token]).toBe(token_logprobs?.[i]);
  });
});

it('refuses top_logprobs alone', () =>
  expect(graft.openai.chat.completions.create({ ...ask, top_logprobs: 2 })).rejects.toMatchObject({
    status: 400,
    param: 'top_logprobs',
  }));
