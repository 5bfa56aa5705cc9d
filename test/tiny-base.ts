// A base model small enough to train in a second: the golden LLaMA with a tokenizer of one token per character and a
// chat template. It has random weights, but real files.
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const GOLDENS = join(import.meta.dirname, 'golden');

const SPECIAL = ['<unk>', '<s>', '</s>'];
const END = { SpecialToken: { id: '</s>', type_id: 0 } };
const ENDS = {
  type: 'TemplateProcessing',
  single: [{ Sequence: { id: 'A', type_id: 0 } }, END],
  pair: [{ Sequence: { id: 'A', type_id: 0 } }, { Sequence: { id: 'B', type_id: 0 } }, END],
  special_tokens: { '</s>': { id: '</s>', ids: [2], tokens: ['</s>'] } },
};
const BEGIN = { SpecialToken: { id: '<s>', type_id: 0 } };
/** Special tokens as in BERT: around a text, and after each of a pair. */
const AROUND = {
  type: 'TemplateProcessing',
  single: [BEGIN, { Sequence: { id: 'A', type_id: 0 } }, END],
  pair: [
    BEGIN,
    { Sequence: { id: 'A', type_id: 0 } },
    END,
    { Sequence: { id: 'B', type_id: 1 } },
    { SpecialToken: { id: '</s>', type_id: 1 } },
  ],
  special_tokens: {
    '<s>': { id: '<s>', ids: [1], tokens: ['<s>'] },
    '</s>': { id: '</s>', ids: [2], tokens: ['</s>'] },
  },
};
const LETTERS = [
  ...'abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 .,:;!?\'"()-+*/=<>\n_@#%&[]{}',
];

/** Writes the folder and returns it. @param family family of the golden base model */
export function writeTinyBase(dir: string, family = 'llama'): string {
  mkdirSync(dir, { recursive: true });
  for (const name of ['config.json', 'model.safetensors'])
    copyFileSync(join(GOLDENS, family, 'base', name), join(dir, name));
  const config = JSON.parse(readFileSync(join(dir, 'config.json'), 'utf8')) as {
    vocab_size: number;
  };
  const words = [...SPECIAL, ...LETTERS].slice(0, config.vocab_size);
  const tokenizer = {
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
    normalizer: null,
    pre_tokenizer: {
      type: 'Split',
      pattern: { Regex: '[\\s\\S]' },
      behavior: 'Isolated',
      invert: false,
    },
    // as T5's own, which ends every text, and BERT's
    post_processor: family === 't5' ? ENDS : family === 'bert' ? AROUND : null,
    decoder: { type: 'Fuse' },
    model: {
      type: 'WordLevel',
      vocab: Object.fromEntries(words.map((word, id) => [word, id])),
      unk_token: '<unk>',
    },
  };
  writeFileSync(join(dir, 'tokenizer.json'), JSON.stringify(tokenizer));
  const template =
    "{% for message in messages %}<s>{{ message['role'] }}: {{ message['content'] }}</s>{% endfor %}" +
    '{% if add_generation_prompt %}<s>assistant: {% endif %}';
  writeFileSync(
    join(dir, 'tokenizer_config.json'),
    JSON.stringify({
      bos_token: '<s>',
      eos_token: '</s>',
      unk_token: '<unk>',
      chat_template: template,
    }),
  );
  return dir;
}

/** Returns preferences in OpenAI's format: the correct sum is preferred to another number. */
export function preferences(count: number, from = 0): string {
  const lines = Array.from({ length: count }, (_, i) => {
    const n = from + i;
    return JSON.stringify({
      input: { messages: [{ role: 'user', content: `what is ${n} plus ${n % 7}?` }] },
      preferred_output: [{ role: 'assistant', content: `${n + (n % 7)}` }],
      non_preferred_output: [{ role: 'assistant', content: `${3 * n + 11} or so` }],
    });
  });
  return `${lines.join('\n')}\n`;
}

/** Returns texts, as JSONL, whose first letter determines the label. */
export function labelled(count: number, from = 0): string {
  const lines = Array.from({ length: count }, (_, i) => {
    const n = from + i;
    const label = n % 2 === 0 ? 'even' : 'odd';
    return JSON.stringify({ text: `${label[0]} number ${n}`, label });
  });
  return `${lines.join('\n')}\n`;
}

/** Writes distinct chats as JSONL. */
export function writeChats(path: string, count: number, from = 0): string {
  const lines = Array.from({ length: count }, (_, i) => {
    const n = from + i;
    return JSON.stringify({
      messages: [
        { role: 'user', content: `what is ${n} plus ${n % 7}?` },
        { role: 'assistant', content: `${n + (n % 7)}${'!'.repeat(n % 5)}` },
      ],
    });
  });
  writeFileSync(path, `${lines.join('\n')}\n`);
  return path;
}
