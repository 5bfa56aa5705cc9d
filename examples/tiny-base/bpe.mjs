// Byte-level byte-pair encoding, trained from word counts (Sennrich et al., arXiv:1508.07909; bytes as in
// GPT-2). Plain and small: a book of 1.2 MB takes seconds.

/** GPT-2's printable stand-in for each byte, so that every byte sequence is a string of visible characters. */
function byteAlphabet() {
  const shown = new Map();
  let next = 256;
  for (let byte = 0; byte < 256; byte++) {
    const visible = (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
    shown.set(byte, String.fromCodePoint(visible ? byte : next++));
  }
  return shown;
}

/** The pre-tokenizer of GPT-2: contractions, words, numbers, punctuation, each with its leading space. */
const WORDS = /'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+/gu;

function countedWords(text, alphabet) {
  const counts = new Map();
  for (const [word] of text.matchAll(WORDS)) counts.set(word, (counts.get(word) ?? 0) + 1);
  return [...counts].map(([word, count]) => ({
    parts: [...Buffer.from(word, 'utf8')].map((byte) => alphabet.get(byte)),
    count,
  }));
}

function bestPair(words) {
  const pairs = new Map();
  for (const { parts, count } of words) {
    for (let i = 1; i < parts.length; i++) {
      const pair = `${parts[i - 1]} ${parts[i]}`;
      pairs.set(pair, (pairs.get(pair) ?? 0) + count);
    }
  }
  let best = null;
  for (const [pair, count] of pairs) {
    if (best === null || count > best.count || (count === best.count && pair < best.pair)) best = { pair, count };
  }
  return best;
}

function join(words, left, right) {
  for (const word of words) {
    const { parts } = word;
    for (let i = 0; i < parts.length - 1; i++) {
      if (parts[i] === left && parts[i + 1] === right) parts.splice(i, 2, left + right);
    }
  }
}

/**
 * A tokenizer.json of the `tokenizers` library with `size` entries: `special` first, then 256 bytes, then merges.
 * @param {string} text
 * @param {{ size: number, special: string[] }} options
 */
export function trainTokenizer(text, { size, special }) {
  const alphabet = byteAlphabet();
  const words = countedWords(text, alphabet);
  const vocabulary = [...special, ...alphabet.values()];
  const merges = [];
  while (vocabulary.length < size) {
    const best = bestPair(words);
    if (best === null || best.count < 2) break;
    const [left, right] = best.pair.split(' ');
    join(words, left, right);
    merges.push([left, right]);
    vocabulary.push(left + right);
  }
  const byteLevel = { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true };
  const added = { single_word: false, lstrip: false, rstrip: false, normalized: false, special: true };
  return {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: special.map((content, id) => ({ id, content, ...added })),
    normalizer: null,
    pre_tokenizer: byteLevel,
    post_processor: null,
    decoder: byteLevel,
    model: {
      type: 'BPE',
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: false,
      byte_fallback: false,
      ignore_merges: false,
      vocab: Object.fromEntries(vocabulary.map((token, id) => [token, id])),
      merges,
    },
  };
}
