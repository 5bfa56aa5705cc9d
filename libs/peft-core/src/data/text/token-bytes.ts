// Bytes of each token in a text. A vocabulary encodes them in one of three ways: bytes as characters
// (byte-level BPE, GPT-2's table), text with "▁" for spaces and `<0xNN>` for single bytes (SentencePiece), or
// plain text.
import type { Json } from './tokenizer-files.js';

export interface AddedToken {
  readonly id: number;
  readonly content: string;
  readonly special: boolean;
}

/** Encoding of bytes in a tokenizer's vocabulary. */
export interface TokenWriting {
  readonly kind: 'byte-level' | 'sentencepiece' | 'plain';
  /** Whether decoding concatenates tokens, so that a text is the bytes of its tokens. */
  readonly joins: boolean;
  readonly added: readonly AddedToken[];
}

type Part = { readonly type?: unknown; readonly decoders?: unknown; readonly pattern?: unknown };

function partsOf(decoder: unknown): Part[] {
  const part = (decoder ?? {}) as Part;
  return Array.isArray(part.decoders) ? part.decoders.flatMap(partsOf) : [part];
}

/** @param tokenizerJson parsed content */
export function tokenWriting(tokenizerJson: Json): TokenWriting {
  const parts = partsOf(tokenizerJson['decoder']);
  const types = parts.map(({ type }) => type);
  const isSentencePiece =
    types.includes('Metaspace') ||
    types.includes('ByteFallback') ||
    parts.some(({ type, pattern }) => type === 'Replace' && JSON.stringify(pattern).includes('▁'));
  const kind = types.includes('ByteLevel') ? 'byte-level' : isSentencePiece ? 'sentencepiece' : 'plain'; // prettier-ignore
  const added = (tokenizerJson['added_tokens'] ?? []) as Partial<AddedToken>[];
  return {
    kind,
    joins: kind !== 'plain' || types.includes('Fuse'),
    added: added.map(({ id = -1, content = '', special = false }) => ({ id, content, special })),
  };
}

/** GPT-2's characters for bytes: printable ones stand for themselves, the others start at U+0100. */
function byteOfLetter(): ReadonlyMap<number, number> {
  const printed = (byte: number): boolean =>
    (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
  let next = 0x100;
  return new Map(
    Array.from({ length: 256 }, (_, byte) => [printed(byte) ? byte : next++, byte] as const),
  );
}

const BYTE = /^<0x([0-9A-Fa-f]{2})>$/;

/** @param tokens vocabulary entries by id; null if there is none */
export function tokenBytes(
  tokens: readonly (string | null)[],
  writing: TokenWriting,
): Uint8Array[] {
  const added = new Map(writing.added.map((one) => [one.id, one.content]));
  const letters = byteOfLetter();
  const read = (token: string): Uint8Array => {
    if (writing.kind === 'byte-level') {
      const bytes = Array.from(token, (letter) => letters.get(letter.codePointAt(0) as number));
      if (bytes.every((byte) => byte !== undefined)) return Uint8Array.from(bytes as number[]);
    }
    if (writing.kind === 'sentencepiece') {
      const [, hex] = BYTE.exec(token) ?? [];
      if (hex !== undefined) return Uint8Array.of(parseInt(hex, 16));
      return Buffer.from(token.replaceAll('▁', ' '), 'utf8');
    }
    return Buffer.from(token, 'utf8');
  };
  return tokens.map((token, id) => {
    const content = added.get(id);
    return content === undefined ? read(token ?? '') : Buffer.from(content, 'utf8');
  });
}
