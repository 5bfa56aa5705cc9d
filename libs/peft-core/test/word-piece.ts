// BERT's tokenizer with a small vocabulary, in the format of its tokenizer.json.
import { Tokenizer } from '../src/data/text/tokenizer.js';

const SPECIAL = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]'];

const put = (id: string, type: number): object => ({ SpecialToken: { id, type_id: type } });
const sequence = (id: 'A' | 'B', type: number): object => ({ Sequence: { id, type_id: type } });
const token = (name: string): object => ({
  id: name,
  ids: [SPECIAL.indexOf(name)],
  tokens: [name],
});

export function wordPieceJson(words: readonly string[]): string {
  const vocabulary = [...SPECIAL, ...words];
  const single = [put('[CLS]', 0), sequence('A', 0), put('[SEP]', 0)];
  return JSON.stringify({
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: SPECIAL.map((content, id) => ({
      id,
      content,
      single_word: false,
      lstrip: false,
      rstrip: false,
      normalized: false,
      special: true,
    })),
    normalizer: {
      type: 'BertNormalizer',
      clean_text: true,
      handle_chinese_chars: true,
      strip_accents: null,
      lowercase: true,
    },
    pre_tokenizer: { type: 'BertPreTokenizer' },
    post_processor: {
      type: 'TemplateProcessing',
      single,
      pair: [...single, sequence('B', 1), put('[SEP]', 1)],
      special_tokens: { '[CLS]': token('[CLS]'), '[SEP]': token('[SEP]') },
    },
    decoder: { type: 'WordPiece', prefix: '##', cleanup: true },
    model: {
      type: 'WordPiece',
      unk_token: '[UNK]',
      continuing_subword_prefix: '##',
      max_input_chars_per_word: 100,
      vocab: Object.fromEntries(vocabulary.map((word, id) => [word, id])),
    },
  });
}

export const wordPieceTokenizer = (words: readonly string[]): Tokenizer =>
  Tokenizer.load({ tokenizerJson: wordPieceJson(words) });
