import {
  copyFileSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { mapSafetensors, tensor, tidy } from '@graft/kernels';
import type { Tensor } from '@graft/kernels';
import { afterAll, beforeEach, describe, expect, it } from 'vitest';
import type { Adapter } from '../../methods/method.js';
import type { HfConfig } from '../../nn/hf-files.js';
import { causalLm } from '../../tasks/causal-lm.js';
import { ctc } from '../../tasks/ctc.js';
import { tasks } from '../../tasks/registry.js';
import { speechSeq2Seq } from '../../tasks/speech-seq-2-seq.js';
import type { PeftTask } from '../../tasks/task.js';
import { adapterCard } from './adapter-card.js';
import { readAdapter, writeAdapter } from './peft-adapter.js';
import { writeSafetensors } from '../safetensors.js';

const GOLDEN = new URL('../../../../../test/golden/', import.meta.url).pathname;
const cases = readdirSync(GOLDEN, { withFileTypes: true })
  .filter((entry) => entry.isDirectory())
  .flatMap((family) =>
    readdirSync(join(GOLDEN, family.name)).map((name) => `${family.name}/${name}`),
  )
  .filter((name) => existsSync(join(GOLDEN, name, 'adapter_config.json')));

const root = mkdtempSync(join(tmpdir(), 'graft-adapter-'));
let folder: string;
beforeEach(() => (folder = mkdtempSync(join(root, 'case-'))));
afterAll(() => rmSync(root, { recursive: true }));

const json = (path: string): Record<string, unknown> =>
  JSON.parse(readFileSync(path, 'utf8')) as Record<string, unknown>;
const base = { config: { model_type: 'llama' }, tokenizerFiles: { tokenizerJson: '{}' } };

/** An adapter with tensors that were read from a file. */
function holding(tensors: ReadonlyMap<string, Tensor>, config: Record<string, unknown>): Adapter {
  return {
    parameters: tensors,
    exported: () => new Map(tensors),
    load: () => undefined,
    resolvedConfig: () => config,
    detach: () => undefined,
  };
}

/** Sorts lists that PEFT stores as sets, whose order is arbitrary. */
function asSets(config: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(config).map(([key, value]) => [
      key,
      Array.isArray(value) ? [...new Set(value)].sort() : value,
    ]),
  );
}

/** PEFT has no task_type for images. */
const PICTURES: PeftTask = {
  taskType: null,
  models: 'ImageClassification',
  pipeline: 'image-classification',
};
const taskOf = (type: unknown): PeftTask =>
  tasks.find(({ peft }) => peft.taskType === type)?.peft ?? PICTURES;

/**
 * Modules whose own parameters the file has as those of a base layer: a LoRA on another parameter of experts.
 */
function wrappedIn(dir: string): string[] {
  const { tensors, close } = mapSafetensors(join(dir, 'adapter_model.safetensors'));
  const wrapped = [...tensors.keys()].flatMap(
    (name) => /^base_model\.model\.(.*)\.base_layer\.(?!lora_)/.exec(name)?.[1] ?? [],
  );
  close();
  return wrapped;
}

describe('adapters that PEFT saved', () => {
  it('exist', () => expect(cases.length).toBeGreaterThanOrEqual(45));

  it.each(cases)('%s is read, and written with the same bytes and an equal config', (name) => {
    const source = join(GOLDEN, name);
    const { peft, tensors, dispose } = readAdapter(source);
    for (const inside of tensors.keys())
      expect(inside).not.toMatch(/base_model|base_layer\.(?!lora_)|lora_[AB]\.weight/);
    const { base_model_name_or_path: baseName, ...config } = peft;
    const adapted = wrappedIn(source);
    const files = writeAdapter(
      folder,
      { ...holding(tensors, config), adapted },
      {
        task: taskOf(config['task_type']),
        base,
        baseName: (baseName as string | null) ?? '',
        peft,
      },
    );
    expect(files).toEqual(readdirSync(folder).sort());
    const bytes = (dir: string): Buffer => readFileSync(join(dir, 'adapter_model.safetensors'));
    expect(bytes(folder).equals(bytes(source))).toBe(true);
    expect(asSets(json(join(folder, 'adapter_config.json')))).toEqual(
      asSets(json(join(source, 'adapter_config.json'))),
    );
    dispose();
  });

  it('writes the config with the same bytes as Python, except for the order of sets', () => {
    const source = join(GOLDEN, 'gpt2/lora');
    const { peft, tensors, dispose } = readAdapter(source);
    writeAdapter(folder, holding(tensors, peft), {
      base,
      baseName: '',
      task: causalLm.peft,
      peft,
    });
    const text = (dir: string): string => readFileSync(join(dir, 'adapter_config.json'), 'utf8');
    expect(text(folder)).toBe(text(source));
    dispose();
  });

  it('writes the base, PEFT and the tags into the card', () => {
    const { peft, tensors, dispose } = readAdapter(join(GOLDEN, 'llama/lora'));
    writeAdapter(folder, holding(tensors, peft), {
      base,
      baseName: 'org/base',
      task: causalLm.peft,
      peft,
    });
    expect(json(join(folder, 'adapter_config.json'))['base_model_name_or_path']).toBe('org/base');
    expect(readFileSync(join(folder, 'README.md'), 'utf8')).toMatch(
      /^---\nbase_model: "org\/base"\nlibrary_name: peft\npipeline_tag: text-generation\ntags:\n- "base_model:adapter:org\/base"\n- "lora"\n- "transformers"\n---\n/,
    );
    dispose();
  });
});

describe('the card of an adapter', () => {
  const card = (baseName: string, ggufFile: string | null, quantization: string | null): string =>
    adapterCard({ peft_type: 'LORA' }, baseName, causalLm.peft, {
      ggufFile,
      hasLabels: false,
      quantization,
    });
  const codeIn = (text: string): string | undefined => /```python\n(.*?)\n```/s.exec(text)?.[1];
  const code = (baseName: string, gguf: string | null): string | undefined =>
    codeIn(card(baseName, gguf, null));

  it.each(['org/base', '/models/base'])(
    'loads it by its config alone where that can name the base %s',
    (name) =>
      expect(code(name, null)).toBe(
        'from peft import AutoPeftModelForCausalLM\nmodel = AutoPeftModelForCausalLM.from_pretrained("PATH_OF_THIS_FOLDER")',
      ),
  );

  it.each([speechSeq2Seq, ctc])('uses a class that PEFT has for task $name', ({ peft }) => {
    const text = adapterCard({ peft_type: 'LORA' }, 'org/base', peft, {
      ggufFile: null,
      hasLabels: false,
    });
    expect(codeIn(text)).toBe(
      'from peft import AutoPeftModel\nmodel = AutoPeftModel.from_pretrained("PATH_OF_THIS_FOLDER")',
    );
  });

  it("names the variant of the method, and keeps PEFT's tag", () => {
    const text = adapterCard({ peft_type: 'LORA', use_dora: true }, 'org/base', causalLm.peft, {
      ggufFile: null,
      hasLabels: false,
    });
    expect(text).toContain('An adapter (DoRA) for org/base');
    expect(text).toContain('- "lora"');
  });

  it('loads the base quantized as in training, and states it', () => {
    const text = card('org/base', null, 'nf4');
    expect(text).toContain('trained by Graft, on the base in nf4, as it is loaded here.');
    expect(codeIn(text)).toBe(
      [
        'from transformers import BitsAndBytesConfig',
        'quantization = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True)',
        'from peft import AutoPeftModelForCausalLM',
        'model = AutoPeftModelForCausalLM.from_pretrained("PATH_OF_THIS_FOLDER", quantization_config=quantization)',
      ].join('\n'),
    );
    expect(codeIn(card('org/base', null, 'int8'))).toContain('load_in_8bit=True');
    // transformers dequantizes a GGUF's blocks to the same values
    expect(card('org/base', 'base.gguf', 'gguf_blocks')).toBe(card('org/base', 'base.gguf', null));
  });

  it("states the quantization of the base, unless the base's files are quantized", () => {
    const { peft, tensors, dispose } = readAdapter(join(GOLDEN, 'llama/lora'));
    const written = (config: HfConfig): string => {
      const held = { ...base, config, model: { quantization: 'nf4' } };
      const facts = { base: held, baseName: 'org/base', task: causalLm.peft, peft };
      writeAdapter(folder, holding(tensors, peft), facts);
      return readFileSync(join(folder, 'README.md'), 'utf8');
    };
    expect(written(base.config)).toContain('BitsAndBytesConfig');
    const { quantization_config } = json(join(GOLDEN, 'llama-nf4/base/config.json'));
    expect(written({ ...base.config, quantization_config })).not.toContain('BitsAndBytesConfig');
    dispose();
  });

  it.each([
    ['/models/base.gguf', '"/models"'],
    ['/models', '"/models"'],
    ['org/base', '"org/base"'],
  ])('loads the base first where it is a file of weights: %s', (name, place) => {
    expect(code(name, 'base.gguf')).toContain(
      `base = AutoModelForCausalLM.from_pretrained(${place}, gguf_file="base.gguf")`,
    );
    expect(code(name, 'base.gguf')).toContain(
      'PeftModel.from_pretrained(base, "PATH_OF_THIS_FOLDER")',
    );
  });
});

describe('readAdapter', () => {
  const minimal = {
    peft_type: 'LORA',
    target_modules: ['q_proj'],
    r: 2,
    lora_alpha: 4,
    task_type: 'CAUSAL_LM',
  };
  const A = 'base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight';

  function adapter(config: unknown, names: readonly string[] = [A]): void {
    if (config !== undefined) {
      writeFileSync(
        join(folder, 'adapter_config.json'),
        typeof config === 'string' ? config : JSON.stringify(config),
      );
    }
    tidy(() =>
      writeSafetensors(
        join(folder, 'adapter_model.safetensors'),
        new Map(names.map((name) => [name, tensor([1, 2], [1, 2], 'f32')])),
      ),
    );
  }

  it('needs only the mandatory keys, drops empty new ones, and removes duplicates from modules_to_save', () => {
    adapter({
      ...minimal,
      future_option: true,
      newer: null,
      newest: {},
      off: false,
      modules_to_save: ['a', 'b', 'a'],
    });
    const { peft, tensors, dispose } = readAdapter(folder);
    expect(peft).toEqual({ ...minimal, future_option: true, modules_to_save: ['a', 'b'] });
    expect([...tensors.keys()]).toEqual(['model.layers.0.self_attn.q_proj.lora_A']);
    dispose();
  });

  it('converts half precision to f32', () => {
    writeFileSync(join(folder, 'adapter_config.json'), JSON.stringify(minimal));
    tidy(() =>
      writeSafetensors(
        join(folder, 'adapter_model.safetensors'),
        new Map([[A, tensor([1.5], [1, 1], 'bf16')]]),
      ),
    );
    const { tensors, dispose } = readAdapter(folder);
    const [value] = tensors.values();
    expect([value?.dtype, value?.item()]).toEqual(['f32', 1.5]);
    dispose();
  });

  it('distinguishes base_layer biases of targeted modules from other biases, reading and writing', () => {
    const path = 'base_model.model.model.layers.0.self_attn';
    const names = [
      `${path}.k_proj.bias`,
      `${path}.q_proj.base_layer.bias`,
      `${path}.q_proj.lora_A.weight`,
      `${path}.q_proj.lora_B.weight`,
    ];
    adapter(minimal, names);
    const { peft, tensors, dispose } = readAdapter(folder);
    expect([...tensors.keys()]).toContain('model.layers.0.self_attn.q_proj.bias');
    writeAdapter(folder, holding(tensors, minimal), {
      base,
      baseName: 'b',
      task: causalLm.peft,
      peft,
    });
    const back = mapSafetensors(join(folder, 'adapter_model.safetensors'));
    expect([...back.tensors.keys()].sort()).toEqual(names);
    back.close();
    dispose();
  });

  it.each<[string, () => void, RegExp]>([
    ['an empty folder', () => undefined, /no adapter_config.json/],
    ['a config that is no JSON', () => adapter('{'), /not valid JSON/],
    ['a config that is a list', () => adapter([]), /must be a JSON object/],
    ['a config without peft_type', () => adapter({ r: 2 }), /no peft_type/],
    ['a method of another kind', () => adapter({ peft_type: 'NONE' }), /unknown peft_type "NONE"/],
    [
      'a config of 2 MB',
      () => adapter({ peft_type: 'LORA', x: 'x'.repeat(2 << 20) }),
      /larger than/,
    ],
    [
      'no weights',
      () => writeFileSync(join(folder, 'adapter_config.json'), JSON.stringify(minimal)),
      /no adapter_model.safetensors/,
    ],
    [
      'a pickle instead',
      () => {
        writeFileSync(join(folder, 'adapter_config.json'), JSON.stringify(minimal));
        writeFileSync(join(folder, 'adapter_model.bin'), Buffer.from('PK\x03\x04'));
      },
      /only adapter_model.bin, a pickle/,
    ],
    [
      'a pickle under the right name',
      () => {
        adapter(minimal);
        writeFileSync(
          join(folder, 'adapter_model.safetensors'),
          Buffer.from('\x80\x02}q\x00.' + 'x'.repeat(64), 'latin1'),
        );
      },
      /header length/,
    ],
    [
      'a file cut short',
      () => {
        adapter(minimal);
        const path = join(folder, 'adapter_model.safetensors');
        writeFileSync(path, readFileSync(path).subarray(0, -4));
      },
      /end at/,
    ],
    [
      'a tensor without prefix',
      () => adapter(minimal, ['model.layers.0.self_attn.q_proj.lora_A.weight']),
      /unknown tensor/,
    ],
    [
      'a tensor of an unknown kind',
      () => adapter(minimal, ['base_model.model.x.hada_w1_a']),
      /hada_w1_a/,
    ],
    ['a bias of A', () => adapter(minimal, ['base_model.model.x.lora_A.bias']), /lora_A.bias/],
    [
      'the same parameter twice',
      () => adapter(minimal, ['base_model.model.x.bias', 'base_model.model.x.base_layer.bias']),
      /same parameter/,
    ],
  ])('rejects %s', (_, make, reason) => {
    make();
    expect(() => readAdapter(folder)).toThrow(expect.objectContaining({ code: 'invalid_adapter' }));
    expect(() => readAdapter(folder)).toThrow(reason);
  });
});

describe('a fully fine-tuned model', () => {
  it('is saved and read as a model folder', () => {
    copyFileSync(join(GOLDEN, 'llama/base/model.safetensors'), join(folder, 'old.safetensors'));
    const file = mapSafetensors(join(folder, 'old.safetensors'));
    const config = json(join(GOLDEN, 'llama/base/config.json')) as { model_type: string };
    const tokenizerFiles = {
      tokenizerJson: '{"version":"1.0"}',
      tokenizerConfig: { eos_token: 'é' },
      chatTemplate: 'T',
    };
    const out = mkdtempSync(join(root, 'model-'));
    const files = writeAdapter(out, holding(file.tensors, {}), {
      base: { config, tokenizerFiles },
      baseName: 'b',
      task: causalLm.peft,
      peft: null,
    });
    expect(files).toEqual(readdirSync(out).sort());
    expect(
      readFileSync(join(out, 'model.safetensors')).equals(
        readFileSync(join(folder, 'old.safetensors')),
      ),
    ).toBe(true);
    expect(json(join(out, 'config.json'))).toEqual({ ...config, dtype: 'float32' });
    expect(readFileSync(join(out, 'tokenizer_config.json'), 'ascii')).toContain(
      '"eos_token": "\\u00e9"',
    );
    const { peft, tensors, dispose } = readAdapter(out);
    expect(peft).toEqual({ peft_type: 'FULL' });
    expect([...tensors.keys()].sort()).toEqual([...file.tensors.keys()].sort());
    dispose();
    file.close();
  });
});

it('is written without references to code, even if the base has some', () => {
  const code = { auto_map: { AutoModel: 'someone/else--modeling.Model' } };
  const named = {
    config: { model_type: 'falcon', ...code },
    tokenizerFiles: { tokenizerJson: '{}', tokenizerConfig: { eos_token: 'e', ...code } },
  };
  tidy(() => {
    const tensors = new Map([['transformer.ln_f.weight', tensor([1], [1])]]);
    const facts = { base: named, baseName: 'b', task: causalLm.peft };
    writeAdapter(folder, holding(tensors, {}), { ...facts, peft: null });
    const labelled = mkdtempSync(join(root, 'labels-'));
    const peft = { peft_type: 'LORA' };
    const headConfig = { id2label: { 0: 'a' } };
    writeAdapter(labelled, holding(tensors, peft), { ...facts, peft, headConfig });
    for (const dir of [folder, labelled])
      for (const name of readdirSync(dir).filter((file) => /\.(json|md)$/.test(file)))
        expect(readFileSync(join(dir, name), 'utf8'), name).not.toContain('modeling.Model');
    expect(json(join(labelled, 'config.json'))).toMatchObject(headConfig);
  });
});
