// Untrusted files of base models and adapters.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { checkPeft, footprintOf } from '@graft/peft-core/catalog';
import { headerLength, parseHeader } from '../../../libs/kernels/dist/safetensors-header.js';
import { Tokenizer } from '../../../libs/peft-core/dist/data/text/tokenizer.js';
import { configProblems } from '../../../libs/peft-core/dist/io/base/config-check.js';
import { ggufModel } from '../../../libs/peft-core/dist/io/gguf/gguf-architecture.js';
import { readGgufHeader } from '../../../libs/peft-core/dist/data/gguf/gguf-header.js';
import { ggufTokenizer } from '../../../libs/peft-core/dist/data/gguf/gguf-tokenizer.js';
import { readAdapterConfig } from '../../../libs/peft-core/dist/io/adapter/peft-adapter.js';
import { plainRefusal } from '../fuzz.mjs';
import { bytes, json } from '../mutate.mjs';

const folder = mkdtempSync(join(tmpdir(), 'graft-fuzz-models-'));
export const end = () => rmSync(folder, { recursive: true });
const GOLDEN = new URL('../../golden/', import.meta.url);
const golden = (path) => JSON.parse(readFileSync(new URL(path, GOLDEN), 'utf8'));

const tensorFile = (header, data) => {
  const text = Buffer.from(JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(text.length));
  return Buffer.concat([length, text, Buffer.alloc(data)]);
};
const tensorFiles = [
  tensorFile({ a: { dtype: 'F32', shape: [2, 2], data_offsets: [0, 16] }, __metadata__: { format: 'pt' } }, 16),
  tensorFile({ b: { dtype: 'BF16', shape: [3], data_offsets: [0, 6] }, c: { dtype: 'U8', shape: [], data_offsets: [6, 7] } }, 7),
]; // prettier-ignore
const headers = tensorFiles.map((file) => JSON.parse(file.subarray(8, 8 + file.readUInt32LE(0))));
const tensorBytes = bytes(tensorFiles, [
  '"F32"',
  '"shape":[',
  '"data_offsets":[0,',
  '__metadata__',
  '"__metadata__":{}',
]);
const tensorHeader = json(headers, {
  keys: ['dtype', 'shape', 'data_offsets', '__metadata__'],
  values: ['F64', [0], [0, 16]],
});

const u32 = (n) => Buffer.from(Uint32Array.of(n).buffer);
const u64 = (n) => Buffer.from(BigUint64Array.of(BigInt(n)).buffer);
const text = (s) => Buffer.concat([u64(Buffer.byteLength(s)), Buffer.from(s)]);
const string = (s) => Buffer.concat([u32(8), text(s)]);
const number = (n) => Buffer.concat([u32(4), u32(n)]);
const real = (n) => Buffer.concat([u32(6), Buffer.from(Float32Array.of(n).buffer)]);
const strings = (list) => Buffer.concat([u32(9), u32(8), u64(list.length), ...list.map(text)]);
const integers = (list) =>
  Buffer.concat([u32(9), u32(5), u64(list.length), Buffer.from(Int32Array.from(list).buffer)]);
const WORDS = ['<|end|>', '<|im_start|>', 'H', 'i', 'Hi', 'Ġ', '1', '2', 'Ċ', '<tool>', '12', 'Ġ1'];

function gguf(architecture) {
  const metadata = {
    'general.architecture': string(architecture),
    'tokenizer.ggml.model': string('gpt2'),
    'tokenizer.ggml.pre': string('smollm'),
    'tokenizer.ggml.tokens': strings(WORDS),
    'tokenizer.ggml.token_type': integers([3, 3, 1, 1, 1, 1, 1, 1, 1, 4, 1, 1]),
    'tokenizer.ggml.merges': strings(['H i', '1 2', 'Ġ 1']),
    'tokenizer.ggml.eos_token_id': number(0),
    'tokenizer.ggml.bos_token_id': number(1),
    [`${architecture}.block_count`]: number(1),
    [`${architecture}.context_length`]: number(64),
    [`${architecture}.embedding_length`]: number(32),
    [`${architecture}.feed_forward_length`]: number(64),
    [`${architecture}.attention.head_count`]: number(2),
    [`${architecture}.attention.layer_norm_rms_epsilon`]: real(1e-5),
  };
  const tensor = (name, dimensions, offset) =>
    Buffer.concat([
      text(name),
      u32(dimensions.length),
      ...dimensions.map(u64),
      u32(0),
      u64(offset),
    ]);
  const front = Buffer.concat([
    Buffer.from('GGUF'), u32(3), u64(2), u64(Object.keys(metadata).length),
    ...Object.entries(metadata).flatMap(([key, value]) => [text(key), value]),
    tensor('token_embd.weight', [32, 12], 0), tensor('blk.0.attn_q.weight', [32, 32], 1536),
  ]); // prettier-ignore
  return Buffer.concat([front, Buffer.alloc(31 + 1536 + 4096)]);
}

const adapters = [
  'lora',
  'lora-patterns',
  'loha',
  'vera',
  'adalora-pruned',
  'ia3',
  'prompt',
  'prefix',
  'p-tuning-mlp',
  'lora-saved-head',
]
  .map((name) => `llama/${name}`)
  .concat(['eva', 'corda', 'lora-ga', 'loftq'].map((name) => `starts/${name}`))
  .map((name) => golden(`${name}/adapter_config.json`));
const configs = ['llama', 'gpt2', 't5', 'qwen2'].map((name) => golden(`${name}/base/config.json`));

const tokenizer = (more) => ({
  version: '1.0', truncation: null, padding: null, normalizer: null,
  added_tokens: [{ id: 0, content: '<s>', single_word: false, lstrip: false, rstrip: false, normalized: false, special: true }],
  pre_tokenizer: { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true },
  post_processor: { type: 'TemplateProcessing', single: [{ Sequence: { id: 'A', type_id: 0 } }, { SpecialToken: { id: '<s>', type_id: 0 } }],
    pair: [{ Sequence: { id: 'A', type_id: 0 } }], special_tokens: { '<s>': { id: '<s>', ids: [0], tokens: ['<s>'] } } },
  decoder: { type: 'ByteLevel', add_prefix_space: true, trim_offsets: true, use_regex: true },
  model: { type: 'BPE', dropout: null, unk_token: null, continuing_subword_prefix: null, end_of_word_suffix: null,
    fuse_unk: false, byte_fallback: false, vocab: { '<s>': 0, H: 1, i: 2, Hi: 3, 'Ġ': 4 }, merges: [['H', 'i']] },
  ...more,
}); // prettier-ignore
const tokenizers = [
  tokenizer({}),
  tokenizer({
    normalizer: { type: 'Sequence', normalizers: [{ type: 'NFKC' }, { type: 'Replace', pattern: { Regex: ' +' }, content: '▁' }] },
    pre_tokenizer: { type: 'Split', pattern: { Regex: '[\\s\\S]' }, behavior: 'Isolated', invert: false },
    model: { type: 'WordLevel', vocab: { '<s>': 0, H: 1, i: 2 }, unk_token: '<s>' },
  }),
  tokenizer({
    pre_tokenizer: { type: 'Metaspace', replacement: '▁', prepend_scheme: 'always', split: true },
    model: { type: 'Unigram', unk_id: 0, vocab: [['<s>', 0], ['▁', -1], ['H', -2], ['i', -2.5]], byte_fallback: false },
  }),
]; // prettier-ignore
const tokenizerConfig = {
  eos_token: '<s>',
  bos_token: { content: '<s>' },
  chat_template: "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}{% endfor %}",
};
const tokenizerOf = json(tokenizers, {
  values: ['NFC', 'Isolated', { type: 'NFC' }, { Regex: '(a+)+$' }],
});
const tokenizerConfigOf = json([
  tokenizerConfig,
  { ...tokenizerConfig, chat_template: [{ name: 'default', template: 'x' }] },
]);

export const targets = [
  {
    name: 'safetensors header',
    make: (r) => {
      if (r.chance(0.4)) return tensorBytes(r);
      const header = tensorHeader(r);
      return Buffer.concat([u64(header.length), header, Buffer.alloc(r.pick([0, 7, 16]))]);
    },
    // it may also throw errors of JSON.parse and of a strict TextDecoder
    refusal: (error) =>
      error instanceof SyntaxError || error?.code === 'ERR_ENCODING_INVALID_ENCODED_DATA'
        ? null
        : plainRefusal()(error),
    run: (input) => {
      const length = headerLength(input.subarray(0, 8), input.length);
      return parseHeader(input.subarray(8, 8 + length), input.length - 8 - length);
    },
  },
  {
    name: 'GGUF header and tokenizer',
    make: bytes(
      [gguf('llama'), gguf('qwen2')],
      ['GGUF', 'general.alignment', 'tokenizer.ggml.', 'blk.0.', text('x')],
    ),
    refusal: plainRefusal(),
    run: (input) => {
      const path = join(folder, 'model.gguf');
      writeFileSync(path, input);
      const header = readGgufHeader(path);
      return [ggufModel(header).config, ggufTokenizer(header).tokenizerConfig];
    },
  },
  {
    name: 'adapter_config.json',
    make: json(adapters, {
      values: ['LORA', 'CAUSAL_LM', 'all-linear', '.*', ['q_proj'], { q_proj: 2 }],
    }),
    run: (input) => {
      writeFileSync(join(folder, 'adapter_config.json'), input);
      const peft = readAdapterConfig(folder);
      // as for a job that continues from it
      return [peft, checkPeft(peft, 'llama'), footprintOf(peft, configs[0], true)];
    },
  },
  {
    name: 'config.json of a base',
    make: json(configs, {
      values: [
        'llama',
        { rope_type: 'llama3' },
        { quant_method: 'bitsandbytes', load_in_4bit: true },
      ],
    }),
    refusal: (error) => `threw ${error?.stack}`,
    refused: (problems) => problems.length > 0,
    run: (input) => configProblems(input.toString('utf8')),
  },
  {
    name: 'tokenizer.json',
    // runs in a thread
    share: 0.2,
    make: (r) => [tokenizerOf(r), tokenizerConfigOf(r)],
    run: ([tokenizerJson, config]) => {
      let parsed;
      try {
        parsed = JSON.parse(config.toString('utf8'));
      } catch {
        parsed = {};
      }
      const tokenizerConfig =
        parsed !== null && typeof parsed === 'object' && !Array.isArray(parsed) ? parsed : {};
      const read = Tokenizer.load({
        tokenizerJson: tokenizerJson.toString('utf8'),
        tokenizerConfig,
      });
      read.dispose();
      return [read.vocabSize, read.eosIds];
    },
  },
];
