import { join } from 'node:path';
import { expect, it } from 'vitest';
import { tokenBytes, tokenWriting } from './token-bytes.js';
import { Tokenizer } from './tokenizer.js';

const text = (bytes: Uint8Array | undefined): string => Buffer.from(bytes ?? []).toString();

it('decodes byte-level characters', () => {
  const writing = tokenWriting({
    decoder: { type: 'ByteLevel' },
    added_tokens: [{ id: 4, content: '<é>', special: true }],
  });
  const [space, accent, half, plain, added] = tokenBytes(['Ġa', 'Ã©', 'Ã', 'ab', '<é>'], writing);
  expect([space, accent, plain, added].map(text)).toEqual([' a', 'é', 'ab', '<é>']);
  expect([...(half ?? [])]).toEqual([0xc3]);
  expect(writing.joins).toBe(true);
});

it('decodes SentencePiece’s spaces and single bytes', () => {
  const decoders = [
    { type: 'Replace', pattern: { String: '▁' }, content: ' ' },
    { type: 'ByteFallback' },
    { type: 'Fuse' },
  ];
  const writing = tokenWriting({ decoder: { type: 'Sequence', decoders } });
  const [word, byte, none] = tokenBytes(['▁été', '<0xE2>', null], writing);
  expect(text(word)).toBe(' été');
  expect([...(byte ?? [])]).toEqual([0xe2]);
  expect(none).toHaveLength(0);
});

it('reports whether decoding adds text between tokens', () => {
  expect(tokenWriting({ decoder: null }).joins).toBe(false);
  expect(tokenWriting({ decoder: { type: 'WordPiece' } }).joins).toBe(false);
  expect(tokenWriting({ decoder: { type: 'Fuse' } }).joins).toBe(true);
});

it('concatenates the bytes of a real tokenizer’s tokens to the text', () => {
  const tokenizer = Tokenizer.load(join(import.meta.dirname, '../../../../../examples/tiny-base'));
  const said = 'A line,\n and "another": {1} é ✓ 😀';
  const bytes = tokenizer.encode(said).map((id) => tokenizer.bytesOf(id));
  expect(Buffer.concat(bytes).toString()).toBe(tokenizer.decode(tokenizer.encode(said)));
  tokenizer.dispose();
});
