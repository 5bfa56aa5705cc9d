// A base small enough for a test to train in a second: the golden LLaMA with a tokenizer of one token a
// character and a chat template. It knows nothing, but everything about it is real.
import { copyFileSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const GOLDEN = join(import.meta.dirname, 'golden', 'llama', 'base');

const SPECIAL = ['<unk>', '<s>', '</s>'];
const LETTERS = [
  ...'abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 .,:;!?\'"()-+*/=<>\n_@#%&[]{}',
];

/** Writes the folder and returns it. */
export function writeTinyBase(dir: string): string {
  mkdirSync(dir, { recursive: true });
  for (const name of ['config.json', 'model.safetensors'])
    copyFileSync(join(GOLDEN, name), join(dir, name));
  const words = [...SPECIAL, ...LETTERS].slice(0, 96);
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
    post_processor: null,
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

/** Chats that differ from each other, as JSONL. */
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
