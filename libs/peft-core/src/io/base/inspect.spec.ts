import {
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeEach, describe, expect, it } from 'vitest';
import { safetensorsHeader, type SafetensorsHeader } from '@graft/kernels';
import { configProblems } from './config-check.js';
import { inspectModelFolder } from './inspect.js';

const GOLDEN = new URL('../../../../../test/golden/', import.meta.url).pathname;
const root = mkdtempSync(join(tmpdir(), 'graft-inspect-'));
let folder: string;
beforeEach(() => (folder = mkdtempSync(join(root, 'case-'))));
afterAll(() => rmSync(root, { recursive: true }));

const put = (name: string, content: string | Buffer): void =>
  writeFileSync(join(folder, name), content);

function model(family = 'llama'): void {
  for (const name of ['config.json', 'model.safetensors'])
    copyFileSync(join(GOLDEN, family, 'base', name), join(folder, name));
  put('tokenizer.json', '{"version":"1.0","model":{"type":"BPE","vocab":{},"merges":[]}}');
}

/** Safetensors bytes from a header and data. */
function safetensors(header: Record<string, unknown>, data = 0): Buffer {
  const json = Buffer.from(JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(json.length));
  return Buffer.concat([length, json, Buffer.alloc(data)]);
}
type Entry = SafetensorsHeader['entries'][number];

/** Tensors of a golden model, and a function that writes some of them as a file. */
function golden(family: string): {
  entries: readonly Entry[];
  parts(some: readonly Entry[]): Buffer;
} {
  const path = join(GOLDEN, family, 'base/model.safetensors');
  const { entries } = safetensorsHeader(path);
  const parts = (some: readonly Entry[]): Buffer => {
    let at = 0;
    const header = some.map(({ name, shape, begin, end }) => {
      const entry = { dtype: 'F32', shape, data_offsets: [at, at + end - begin] };
      at += end - begin;
      return [name, entry] as const;
    });
    return safetensors(Object.fromEntries(header), at);
  };
  return { entries, parts };
}
const llama = () => golden('llama');
/** Applies changes to config.json. */
function configured(changes: Record<string, unknown>): void {
  const config = JSON.parse(readFileSync(join(folder, 'config.json'), 'utf8')) as object;
  put('config.json', JSON.stringify({ ...config, ...changes }));
}
const one = { dtype: 'F32', shape: [2], data_offsets: [0, 8] };

const problems = (): string => inspectModelFolder(folder).problems.join('\n');

describe('inspectModelFolder', () => {
  it.each([
    ['llama', 24_736],
    ['gpt2', 30_848],
    ['qwen3', undefined],
    ['mistral', undefined],
  ])('takes %s', (family, parameters) => {
    model(family);
    put('pytorch_model.bin', 'not needed, so not looked at');
    put('README.md', '');
    const found = inspectModelFolder(folder);
    expect(found).toMatchObject({
      problems: [],
      files: ['config.json', 'model.safetensors', 'tokenizer.json'],
    });
    expect(found.family).not.toBe('');
    expect(found.parameters).toBeGreaterThan(10_000);
    if (parameters !== undefined) expect(found.parameters).toBe(parameters);
  });

  it('accepts weights in several files with an index', () => {
    model();
    const { entries, parts } = llama();
    const half = Math.ceil(entries.length / 2);
    const [first, second] = [entries.slice(0, half), entries.slice(half)];
    rmSync(join(folder, 'model.safetensors'));
    put('a.safetensors', parts(first));
    put('b.safetensors', parts(second));
    const index = Object.fromEntries([
      ...first.map(({ name }) => [name, 'a.safetensors']),
      ...second.map(({ name }) => [name, 'b.safetensors']),
    ]) as Record<string, string>;
    put('model.safetensors.index.json', JSON.stringify({ weight_map: index }));
    expect(inspectModelFolder(folder)).toMatchObject({ problems: [], parameters: 24_736 });
    put(
      'model.safetensors.index.json',
      JSON.stringify({ weight_map: { ...index, q: 'a.safetensors' } }),
    );
    expect(problems()).toBe('model.safetensors.index.json lists "q" in a.safetensors, which does not contain it'); // prettier-ignore
    put('b.safetensors', parts([first[0] as Entry, ...second]));
    expect(problems()).toContain(`"${first[0]?.name}" is in two files`);
  });

  it('names the first tensor that is missing or has another shape, and counts the others', () => {
    model();
    const { entries, parts } = llama();
    const lacking = (pattern: RegExp): string => {
      put('model.safetensors', parts(entries.filter(({ name }) => !pattern.test(name))));
      return problems();
    };
    expect(lacking(/^nothing/)).toBe('');
    expect(lacking(/^model\.norm/)).toBe("the model's files have no model.norm.weight");
    expect(lacking(/layers\.1\.self_attn\.[qk]_proj/)).toBe(
      "the model's files have no model.layers.1.self_attn.q_proj.weight; 1 more tensor is missing or of another shape",
    );
    expect(lacking(/layers\.1\./)).toBe(
      "the model's files have no model.layers.1.input_layernorm.weight; 8 more tensors are missing or of another shape",
    );
    configured({ intermediate_size: 72 });
    expect(lacking(/^model\.norm/)).toMatch(
      /^model\.layers\.0\.mlp\.gate_proj\.weight has shape \[64, 32\], config\.json implies \[72, 32\]; 6 more/,
    );
  });

  it('counts at most 1,000 others, however many config.json requires', () => {
    model('mixtral');
    configured({ num_hidden_layers: 1000, num_local_experts: 1024 });
    const begun = process.cpuUsage();
    expect(problems()).toMatch(
      /^model\.layers\.0\..* has shape .*; more than 1,000 others are missing or of another shape$/,
    );
    const { user, system } = process.cpuUsage(begun);
    // describing the modules takes a tenth of this; searching all of them took over a minute
    expect((user + system) / 1e6).toBeLessThan(5);
  });

  it('reads an index in linear time', () => {
    model();
    const names = Array.from({ length: 80_000 }, (_, i) => [`layers.${i}`, 'model.safetensors']);
    put(
      'model.safetensors.index.json',
      JSON.stringify({ weight_map: Object.fromEntries(names) as object }),
    );
    const begun = process.cpuUsage();
    expect(problems()).toMatch(/^model\.safetensors\.index\.json lists "layers\.0" in /);
    const { user, system } = process.cpuUsage(begun);
    // takes a twentieth of this; when each name copied those before it, most of a minute
    expect((user + system) / 1e6).toBeLessThan(5);
  });

  it('reports files without a head, and files with names of another kind', () => {
    model();
    const { entries, parts } = llama();
    put('model.safetensors', parts(entries.filter(({ name }) => name !== 'lm_head.weight')));
    expect(problems()).toBe(
      "the model's files have no lm_head.weight; they belong to a model without a language-model head: an embedding model or a bare backbone",
    );
    const prefixed = entries.map((one) => ({ ...one, name: `base_model.model.${one.name}` }));
    put('model.safetensors', parts(prefixed));
    expect(problems()).toMatch(
      /^the model's files have no model\.embed_tokens\.weight; \d+ more .*; the files use other tensor names \(the first: base_model\.model\..*\)$/,
    );
    // a config with too many layers must not report a different kind of model
    put('model.safetensors', parts(entries));
    configured({ num_hidden_layers: 40 });
    expect(problems()).toMatch(/ more tensors are missing or of another shape$/);
  });

  it('reports the name of a tensor in files and in the model', () => {
    model('gpt_neox');
    const { entries, parts } = golden('gpt_neox');
    put(
      'model.safetensors',
      parts(entries.filter(({ name }) => !/^(embed_out|lm_head)/.test(name))),
    );
    expect(problems()).toBe(
      "the model's files have neither embed_out.weight nor lm_head.weight; they belong to a model without a language-model head: an embedding model or a bare backbone",
    );
  });

  it.each<[string, () => void, RegExp]>([
    ['a missing path', () => (folder = join(folder, 'none')), /does not exist/],
    ['an empty folder', () => undefined, /no config.json/],
    [
      'a file that is no model',
      () => (put('x.txt', ''), (folder = join(folder, 'x.txt'))),
      /neither a directory nor a .gguf/,
    ],
    [
      'no weights',
      () => (model(), rmSync(join(folder, 'model.safetensors'))),
      /no safetensors file/,
    ],
    [
      'a pickle alone',
      () => (model(), rmSync(join(folder, 'model.safetensors')), put('pytorch_model.bin', 'PK')),
      /pytorch_model.bin is a pickle/,
    ],
    [
      'no tokenizer',
      () => (model(), rmSync(join(folder, 'tokenizer.json'))),
      /^the model has no tokenizer.json/,
    ],
    [
      'a tokenizer config that is no JSON',
      () => (model(), put('tokenizer_config.json', '{')),
      /tokenizer_config.json is not valid JSON/,
    ],
    [
      'two files and no index',
      () => (
        model(),
        rmSync(join(folder, 'model.safetensors')),
        put('a.safetensors', ''),
        put('b.safetensors', '')
      ),
      /2 safetensors files and no/,
    ],
    [
      'an index that names a file elsewhere',
      () => (
        model(),
        put('model.safetensors.index.json', '{"weight_map":{"x":"../../a.safetensors"}}')
      ),
      /only safetensors files in the same directory/,
    ],
    [
      'an index that names a pickle',
      () => (model(), put('model.safetensors.index.json', '{"weight_map":{"x":"a.bin"}}')),
      /only safetensors files/,
    ],
    [
      'an index that lists a missing file',
      () => (model(), put('model.safetensors.index.json', '{"weight_map":{"x":"a.safetensors"}}')),
      /a.safetensors, listed in .*, is missing/,
    ],
    ['an empty index', () => (model(), put('model.safetensors.index.json', '{}')), /no weight_map/],
    [
      'weights that are a zip',
      () => (model(), put('model.safetensors', Buffer.from('PK\x03\x04aaaaaaaaaaaa'))),
      /^model.safetensors is a zip archive/,
    ],
    [
      'weights that are a pickle',
      () => (model(), put('model.safetensors', Buffer.from('\x80\x04\x95aaaaaaaaaaaaa', 'latin1'))),
      /pickle/,
    ],
    [
      'weights that are gzip',
      () => (model(), put('model.safetensors', Buffer.from('1f8b080000000000aabbccdd', 'hex'))),
      /compressed/,
    ],
    [
      'weights cut short',
      () => (
        model(),
        put('model.safetensors', readFileSync(join(folder, 'model.safetensors')).subarray(0, -8))
      ),
      /^model.safetensors: the tensors end at/,
    ],
    [
      'weights that overlap',
      () => (model(), put('model.safetensors', safetensors({ x: one, y: one }, 8))),
      /overlap/,
    ],
    [
      'a config that is a pickle',
      () => (model(), put('config.json', Buffer.from('\x80\x02}.', 'latin1'))),
      /config.json is a pickle/,
    ],
    [
      'weights behind a symbolic link',
      () => (
        model(),
        rmSync(join(folder, 'model.safetensors')),
        symlinkSync('/etc/passwd', join(folder, 'model.safetensors'))
      ),
      /not a regular file/,
    ],
    [
      'weights that are a folder',
      () => (
        model(),
        rmSync(join(folder, 'model.safetensors')),
        mkdirSync(join(folder, 'model.safetensors'))
      ),
      /not a regular file/,
    ],
    [
      'an unknown architecture',
      () => (model(), put('config.json', '{"model_type":"qwen3_next"}')),
      /unknown model_type "qwen3_next"; did you mean qwen3\? supported: llama, /,
    ],
    [
      'an architecture without sizes',
      () => (model(), put('config.json', '{"model_type":"llama"}')),
      /config.json: /,
    ],
    [
      'a damaged GGUF',
      () => (put('m.gguf', 'GGUF'), (folder = join(folder, 'm.gguf'))),
      /cannot read the GGUF file/,
    ],
    ['two GGUF files', () => (put('a.gguf', ''), put('b.gguf', '')), /2 .gguf files/],
  ])('rejects %s', (_, make, reason) => {
    make();
    expect(problems()).toMatch(reason);
  });
});

describe('configProblems', () => {
  const config = JSON.parse(readFileSync(join(GOLDEN, 'llama/base/config.json'), 'utf8')) as Record<
    string,
    unknown
  >;
  const withKey = (key: string, value: unknown): string =>
    JSON.stringify({ ...config, [key]: value });

  it.each(['llama', 'llama3', 'mistral', 'qwen2', 'qwen3', 'gpt2'])(
    "takes transformers' own config of %s",
    (family) => {
      expect(
        configProblems(readFileSync(join(GOLDEN, family, 'base/config.json'), 'utf8')),
      ).toEqual([]);
    },
  );

  it.each(['falcon', 'mpt', 'phi3'])(
    "passes over code that %s's files name, which is never run",
    (family) => {
      const own = JSON.parse(readFileSync(join(GOLDEN, family, 'base/config.json'), 'utf8'));
      const named = { ...own, auto_map: { AutoModel: 'modeling.Model' } };
      expect(configProblems(JSON.stringify(named))).toEqual([]);
    },
  );

  it('accepts unknown keys, and null for known ones', () => {
    expect(configProblems(withKey('something_new', { a: [1] }))).toEqual([]);
    expect(configProblems(withKey('sliding_window', null))).toEqual([]);
    expect(configProblems(withKey('eos_token_id', [1, 2]))).toEqual([]);
  });

  it.each<[string, string]>([
    ['auto_map', withKey('auto_map', { AutoModel: 'evil--modeling.Evil' })],
    ['trust_remote_code', withKey('trust_remote_code', true)],
    ['custom_pipelines', withKey('custom_pipelines', {})],
    ['_attn_implementation_internal', withKey('_attn_implementation_internal', 'evil/kernel')],
    ['attn_implementation_internal', withKey('attn_implementation_internal', 'evil/kernel')],
    ['_attn_implementation', withKey('_attn_implementation', 'evil/kernel')],
    ['quantization_config', withKey('quantization_config', { bits: 4 })],
    ['hidden_size', withKey('hidden_size', 1e12)],
    ['hidden_size', withKey('hidden_size', -1)],
    ['hidden_size', withKey('hidden_size', 0)],
    ['hidden_size', withKey('hidden_size', 1.5)],
    ['hidden_size', withKey('hidden_size', '64')],
    ['hidden_size', withKey('hidden_size', [64])],
    ['hidden_size', withKey('hidden_size', true)],
    ['vocab_size', withKey('vocab_size', 2 ** 40)],
    ['vocab_size', JSON.stringify(config).replace(/"vocab_size":\d+/, '"vocab_size":1e999')],
    ['num_hidden_layers', withKey('num_hidden_layers', 100_000)],
    ['num_attention_heads', withKey('num_attention_heads', 0)],
    ['num_key_value_heads', withKey('num_key_value_heads', {})],
    ['head_dim', withKey('head_dim', 1e6)],
    ['intermediate_size', withKey('intermediate_size', -5)],
    ['max_position_embeddings', withKey('max_position_embeddings', 1e15)],
    ['rms_norm_eps', withKey('rms_norm_eps', -1)],
    ['rms_norm_eps', withKey('rms_norm_eps', 'tiny')],
    ['rope_theta', withKey('rope_theta', 0)],
    ['rope_scaling', withKey('rope_scaling', 'linear')],
    ['rope_parameters', withKey('rope_parameters', [1])],
    ['layer_types', withKey('layer_types', 'full')],
    ['layer_types', withKey('layer_types', [1])],
    ['architectures', withKey('architectures', [{}])],
    ['hidden_act', withKey('hidden_act', { __class__: 'os.system' })],
    ['hidden_act', withKey('hidden_act', 'x'.repeat(300))],
    ['tie_word_embeddings', withKey('tie_word_embeddings', 'yes')],
    ['attention_bias', withKey('attention_bias', 1)],
    ['attention_dropout', withKey('attention_dropout', 2)],
    ['eos_token_id', withKey('eos_token_id', -1)],
    ['bos_token_id', withKey('bos_token_id', 'x')],
    ['model_type', withKey('model_type', 5)],
    ['model_type', withKey('model_type', null)],
    ['__proto__', '{"model_type":"llama","__proto__":{"x":1}}'],
    ['constructor', '{"model_type":"llama","rope_scaling":{"constructor":{}}}'],
    ['duplicate key', '{"model_type":"llama","model_type":"gpt2"}'],
    ['deep', `{"model_type":"llama","a":${'['.repeat(50)}${']'.repeat(50)}}`],
    [
      'keys',
      JSON.stringify(Object.fromEntries(Array.from({ length: 600 }, (_, i) => [`k${i}`, 1]))),
    ],
    ['not valid JSON', '{'],
    ['a JSON object', '[]'],
  ])('rejects a bad %s', (named, text) => {
    expect(configProblems(text).join('\n')).toContain(named);
  });
});
