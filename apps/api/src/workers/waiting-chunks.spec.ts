import { MAX_MESSAGE_BYTES } from '@graft/contracts';
import { GenerateChunk } from '@graft/contracts/grpc';
import { describe, expect, it } from 'vitest';
import { WaitingChunks } from './waiting-chunks.js';

const chunk = (more: Partial<GenerateChunk>): GenerateChunk => ({
  id: 'gen-1',
  text: '',
  finishReason: '',
  promptTokens: 1,
  completionTokens: 1,
  errorCode: '',
  errorMessage: '',
  phase: '',
  ...more,
});

describe('chunks that wait for a slow client', () => {
  it('become one with all of their text, the newest count and the last phase', () => {
    const chunks = new WaitingChunks();
    chunks.add(chunk({ phase: 'loading' }));
    for (let n = 1; n <= 10_000; n++) chunks.add(chunk({ text: `${n} `, completionTokens: n }));
    chunks.add(chunk({ finishReason: 'stop', completionTokens: 10_001 }));
    const text = Array.from({ length: 10_000 }, (_, n) => `${n + 1} `).join('');
    expect(chunks.take()).toMatchObject({ text, completionTokens: 10_000, phase: 'loading' });
    expect(chunks.take()).toMatchObject({ text: '', finishReason: 'stop' });
    expect(chunks.take()).toBeUndefined();
  });

  it('stay apart where the client reads them as they come', () => {
    const chunks = new WaitingChunks();
    for (const text of ['a', 'b']) {
      chunks.add(chunk({ text }));
      expect(chunks.take()?.text).toBe(text);
    }
  });

  it('of vectors join up to what travels at once, and none is lost', () => {
    const chunks = new WaitingChunks();
    const json = (n: number) => ({ inferred: { json: [`${n}`.padStart(1000)] } });
    for (let n = 0; n < 3000; n++) chunks.add(chunk(json(n)));
    chunks.add(chunk({ finishReason: 'stop', ...json(3000) }));
    const taken: number[][] = [];
    for (let one = chunks.take(); one; one = chunks.take())
      taken.push((one.inferred?.json ?? []).map(Number));
    expect(taken.flat()).toEqual(Array.from({ length: 3001 }, (_, n) => n));
    expect(taken.length).toBe(4);
    for (let n = 0; n < 68_000; n++) chunks.add(chunk(json(n)));
    expect(() => chunks.take()).toThrow('longer than a response may be');
  });

  it('of log-probabilities join up to what travels at once, and none is lost', () => {
    const chunks = new WaitingChunks();
    const one = { token: '\ufffd\ufffd', bytes: Buffer.from([0xe2, 0x82]), logprob: -1, start: 0, top: [] }; // prettier-ignore
    const top = Array.from({ length: 20 }, () => one);
    for (let start = 0; start < 10_000; start++)
      chunks.add(chunk({ text: '€', logprobs: { tokens: [{ ...one, start, top }] } }));
    const taken: GenerateChunk[] = [];
    for (let next = chunks.take(); next; next = chunks.take()) taken.push(next);
    const starts = taken.flatMap(({ logprobs }) => logprobs?.tokens.map(({ start }) => start));
    expect(starts).toEqual(Array.from({ length: 10_000 }, (_, n) => n));
    expect(taken.map(({ text }) => text).join('')).toBe('€'.repeat(10_000));
    const bytes = taken.map((each) => GenerateChunk.encode(each).finish().length);
    expect(Math.max(...bytes)).toBeLessThan(MAX_MESSAGE_BYTES / 2);
    expect(taken.length).toBeLessThan(12);
  });

  it('of a worker that never stops are refused', () => {
    const chunks = new WaitingChunks();
    for (let n = 0; n < 1_100; n++) chunks.add(chunk({ text: 'x'.repeat(1_000) }));
    expect(() => chunks.take()).toThrow('longer than a response may be');
  });

  it('after the last are ignored', () => {
    const chunks = new WaitingChunks();
    chunks.add(chunk({ finishReason: 'stop' }));
    for (let n = 0; n < 10; n++) chunks.add(chunk({ finishReason: 'stop', text: 'more' }));
    expect(chunks.take()?.text).toBe('');
    expect(chunks.take()).toBeUndefined();
  });
});
