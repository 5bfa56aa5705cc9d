// Converts SentencePiece's BPE (tokenizer.ggml.model "llama") to Hugging Face's tokenizer.json. A file has a
// score for each token instead of merges: SentencePiece merges the two neighbors whose token has the highest
// score. So every way to compose a token of two others is a merge, higher scores first. Loads no native code.

type Json = Readonly<Record<string, unknown>>;

export interface SentencePieces {
  readonly tokens: readonly string[];
  readonly vocab: Readonly<Record<string, number>>;
  readonly scores: readonly number[];
  /** Token types of ggml; only normal tokens are composed of others. */
  readonly kinds: readonly unknown[];
  /** Whether a space is added before text. */
  readonly hasPrefix: boolean;
  readonly unknown: string | null;
}

const NORMAL = 1;
const SPACE = '▁';
/**
 * Maximum length of a token in UTF-16 units, as it is split at every position; SentencePiece's have some
 * dozens at most.
 */
const LONGEST = 1000;

/** Index of the first normal token that is too long. */
export const overlong = ({ tokens, kinds }: Pick<SentencePieces, 'tokens' | 'kinds'>): number =>
  tokens.findIndex(({ length }, id) => length > LONGEST && (kinds[id] ?? NORMAL) === NORMAL);

/** Returns normalizer, decoder and model. */
export function sentencePieces(pieces: SentencePieces): Json {
  const { vocab, hasPrefix, unknown } = pieces;
  const spaces = { type: 'Replace', pattern: { String: ' ' }, content: SPACE };
  const prefix = { type: 'Prepend', prepend: SPACE };
  const decoders = [
    { type: 'Replace', pattern: { String: SPACE }, content: ' ' },
    { type: 'ByteFallback' },
    { type: 'Fuse' },
    ...(hasPrefix ? [{ type: 'Strip', content: ' ', start: 1, stop: 0 }] : []),
  ];
  return {
    normalizer: hasPrefix ? { type: 'Sequence', normalizers: [prefix, spaces] } : spaces,
    pre_tokenizer: null,
    decoder: { type: 'Sequence', decoders },
    model: {
      type: 'BPE',
      dropout: null,
      unk_token: unknown,
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: true,
      byte_fallback: true,
      ignore_merges: false,
      vocab,
      merges: mergesOf(pieces),
    },
  };
}

interface Merge {
  readonly parts: readonly [string, string];
  readonly score: number;
  /** Order among merges of the same score: the token, and where it is split. */
  readonly order: readonly [number, number];
}

function mergesOf({ tokens, vocab, scores, kinds }: SentencePieces): Merge['parts'][] {
  const isNormal = (id: number | undefined): boolean =>
    id !== undefined && (kinds[id] ?? NORMAL) === NORMAL;
  const found: Merge[] = [];
  for (const [id, token] of tokens.entries()) {
    if (!isNormal(id)) continue;
    const letters = [...token];
    let cut = 0;
    for (let n = 1; n < letters.length; n++) {
      cut += (letters[n - 1] as string).length;
      const [left, right] = [token.slice(0, cut), token.slice(cut)] as const;
      if (isNormal(vocab[left]) && isNormal(vocab[right]))
        found.push({ parts: [left, right], score: scores[id] ?? 0, order: [id, cut] });
    }
  }
  found.sort((a, b) => b.score - a.score || a.order[0] - b.order[0] || a.order[1] - b.order[1]);
  return found.map(({ parts }) => parts);
}
