import { MAX_MESSAGE_BYTES } from '@graft/contracts';
import { ModelResponse } from '@graft/contracts/grpc';
import { describe, expect, it } from 'vitest';
import { WaitingResponses } from './waiting-responses.js';

const response = (more: Partial<ModelResponse> = {}): ModelResponse => ({
  id: 'gen-1',
  pieces: [],
  last: false,
  errorCode: '',
  errorMessage: '',
  errorParam: '',
  phase: '',
  ...more,
});

const piece = (text: string): ModelResponse => response({ pieces: [Buffer.from(text)] });

const textOf = (one: ModelResponse | undefined): string =>
  (one?.pieces ?? []).map((each) => Buffer.from(each).toString()).join('');

describe('responses that wait for a slow client', () => {
  it('merge into one with all their pieces and the last phase', () => {
    const responses = new WaitingResponses();
    responses.add(response({ phase: 'loading' }));
    for (let n = 1; n <= 10_000; n++) responses.add(piece(`${n} `));
    responses.add(response({ last: true }));
    const text = Array.from({ length: 10_000 }, (_, n) => `${n + 1} `).join('');
    const first = responses.take();
    expect(textOf(first)).toBe(text);
    expect(first?.phase).toBe('loading');
    expect(responses.take()).toMatchObject({ pieces: [], last: true });
    expect(responses.take()).toBeUndefined();
  });

  it('stay separate if the client reads each as it arrives', () => {
    const responses = new WaitingResponses();
    for (const text of ['a', 'b']) {
      responses.add(piece(text));
      expect(textOf(responses.take())).toBe(text);
    }
  });

  it('merge up to 1 MiB, and none is lost', () => {
    const responses = new WaitingResponses();
    const numbered = (n: number): Uint8Array => Buffer.from(`${n}`.padStart(1000));
    for (let n = 0; n < 3000; n++) responses.add(response({ pieces: [numbered(n)] }));
    responses.add(response({ last: true, pieces: [numbered(3000)] }));
    const taken: ModelResponse[] = [];
    for (let one = responses.take(); one; one = responses.take()) taken.push(one);
    const numbers = taken.flatMap(({ pieces }) => pieces.map((each) => Number(Buffer.from(each))));
    expect(numbers).toEqual(Array.from({ length: 3001 }, (_, n) => n));
    expect(taken.length).toBe(5);
    const bytes = taken.map((each) => ModelResponse.encode(each).finish().length);
    expect(Math.max(...bytes)).toBeLessThan(MAX_MESSAGE_BYTES / 2);
  });

  it('are rejected if the worker never stops', () => {
    const responses = new WaitingResponses();
    const large = Buffer.alloc(1024 * 1024);
    for (let n = 0; n < 97; n++) responses.add(response({ pieces: [large] }));
    expect(() => responses.take()).toThrow('longer than the limit of 96 MiB');
    const many = new WaitingResponses();
    const empty = piece('');
    for (let n = 0; n < 1_600_000; n++) many.add(empty);
    expect(() => many.take()).toThrow('longer than the limit of 96 MiB');
  });

  it('end with an error, which is kept, whether or not it is marked as the last', () => {
    const responses = new WaitingResponses();
    responses.add(piece('a'));
    responses.add(response({ errorCode: 'crash', errorMessage: 'it broke' }));
    responses.add(piece('b'));
    expect(textOf(responses.take())).toBe('a');
    expect(responses.take()).toMatchObject({ errorCode: 'crash', errorMessage: 'it broke' });
    expect(responses.take()).toBeUndefined();
  });

  it('count the text of an error towards the limit', () => {
    const responses = new WaitingResponses();
    responses.add(response({ errorCode: 'crash', errorMessage: 'x'.repeat(97 * 1024 * 1024) }));
    expect(() => responses.take()).toThrow('longer than the limit of 96 MiB');
  });

  it('are ignored after the last one', () => {
    const responses = new WaitingResponses();
    responses.add(response({ last: true }));
    for (let n = 0; n < 10; n++) responses.add(response({ last: true, phase: 'more' }));
    expect(responses.take()?.phase).toBe('');
    expect(responses.take()).toBeUndefined();
  });
});
