// A byte-level BPE tokenizer small enough for a golden base model: special tokens, letters, and a merge or two.
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const GOLDENS = join(import.meta.dirname, '../golden');
const SPECIAL = ['<unk>', '<s>', '</s>'];
const LETTERS = [...'etaoinshrdlcumwfgypbvkjxqzETAOINSHRDLCUMWFGYPBVKJXQZ0123456789.,:;!?-ĠĊ'];
const MERGES: readonly (readonly [string, string])[] = [
  ['t', 'h'],
  ['th', 'e'],
  ['Ġ', 'a'],
];

/** Writes a golden base model with this tokenizer. @param changed changes to its config.json @returns the folder */
export function writeByteBase(dir: string, family: string, changed: object = {}): string {
  mkdirSync(dir, { recursive: true });
  const golden = join(GOLDENS, family, 'base');
  copyFileSync(join(golden, 'model.safetensors'), join(dir, 'model.safetensors'));
  const model = JSON.parse(readFileSync(join(golden, 'config.json'), 'utf8')) as {
    readonly vocab_size: number;
  };
  const { vocab_size: size } = model;
  writeFileSync(join(dir, 'config.json'), JSON.stringify({ ...model, ...changed }));
  const words = [...SPECIAL, ...LETTERS, ...MERGES.map((pair) => pair.join(''))].slice(0, size);
  const added = SPECIAL.map((content, id) => ({
    id,
    content,
    single_word: false,
    lstrip: false,
    rstrip: false,
    normalized: false,
    special: true,
  }));
  const bytes = { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true };
  const json = {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: added,
    normalizer: null,
    pre_tokenizer: bytes,
    post_processor: null,
    decoder: bytes,
    model: {
      type: 'BPE',
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: false,
      byte_fallback: false,
      ignore_merges: false,
      vocab: Object.fromEntries(words.map((word, id) => [word, id])),
      merges: MERGES,
    },
  };
  writeFileSync(join(dir, 'tokenizer.json'), JSON.stringify(json));
  const template =
    "{% for message in messages %}<s>{{ message['role'] }}: {{ message['content'] }}</s>{% endfor %}" +
    '{% if add_generation_prompt %}<s>assistant: {% endif %}';
  const config = {
    bos_token: '<s>',
    eos_token: '</s>',
    unk_token: '<unk>',
    chat_template: template,
  };
  writeFileSync(join(dir, 'tokenizer_config.json'), JSON.stringify(config));
  return dir;
}
