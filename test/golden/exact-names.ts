// Adapters whose names of modules also match modules that Graft does not load, or did not adapt.
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { mapSafetensors, type Tensor } from '@graft/kernels';
import {
  attachMethod,
  buildModel,
  headOf,
  taskFor,
  writeAdapter,
  writeSafetensors,
  type HfConfig,
} from '@graft/peft-core';
import { HERE } from './golden-case.js';

type Peft = { readonly peft_type: string; readonly [field: string]: unknown };

const lora = (target_modules: unknown, more: object = {}): Peft => ({
  peft_type: 'LORA',
  r: 2,
  target_modules,
  ...more,
});
const norms = (target_modules: unknown = null): Peft => ({
  peft_type: 'LN_TUNING',
  target_modules,
});

const TOWERS: readonly Peft[] = [
  lora(null),
  lora('all-linear'),
  lora(['q_proj', 'out_proj']),
  lora(['layers.1.self_attn.q_proj']),
  lora('.*layers\\.1\\..*(q_proj|out_proj)'),
  lora(['fc1', 'out_proj'], { layers_to_transform: [1] }),
  lora(['q_proj'], { exclude_modules: ['layers.0.self_attn.q_proj'] }),
  lora(['q_proj', 'token_embedding']),
  lora(['q_proj'], { modules_to_save: ['layer_norm1', 'mlp'] }),
  { peft_type: 'IA3', target_modules: ['k_proj', 'fc2'], feedforward_modules: ['fc2'] },
  norms(),
  norms(['layer_norm1']),
];
const POOLERS: readonly Peft[] = [
  lora(null),
  lora('all-linear'),
  lora(['dense', 'q_proj', 'query']),
  lora('.*(dense|q_proj|query)'),
  norms(),
];
const TWO_STACKS: readonly Peft[] = [lora(null), lora('all-linear'), lora(['fc1', 'wo']), norms()];

const GROUPS: readonly (readonly [
  families: string[],
  tasks: string[],
  configs: readonly Peft[],
])[] = [
  [['siglip', 'siglip-head'], ['image_feature_extraction', 'image_cls'], TOWERS],
  [['vit', 'deit'], ['image_feature_extraction', 'image_cls'], POOLERS],
  [['roberta', 'bert', 'modernbert'], ['feature_extraction', 'seq_cls'], POOLERS.slice(0, 2)],
  [['roberta', 'camembert', 'bert'], ['feature_extraction'], POOLERS.slice(2)],
  [['modernbert'], ['feature_extraction', 'seq_cls'], [norms(), norms(['attn_norm', 'mlp_norm'])]],
  [['whisper'], ['speech_seq_2_seq', 'audio_cls'], TWO_STACKS],
  [['bart', 't5'], ['seq_2_seq_lm'], TWO_STACKS],
];

export interface Written {
  readonly base: string;
  readonly dir: string;
  /** Suffix of the AutoModel class that loads the base. */
  readonly models: string;
}

/** Number of layers of a deep base: from 20 targets on, PEFT and Graft shorten lists of paths. */
const DEEP = 6;
const DEEP_FAMILIES: ReadonlySet<string> = new Set(['siglip-head', 'roberta']);

export const CASES = [null, DEEP].flatMap((layers) =>
  GROUPS.flatMap(([families, tasks, configs]) =>
    families
      .filter((family) => (layers === null ? family !== 'siglip-head' : DEEP_FAMILIES.has(family)))
      .flatMap((family) =>
        tasks.flatMap((task) =>
          configs.map((peft) => {
            const { peft_type: type, target_modules: targets, ...more } = peft;
            const shown = `${family}${layers === null ? '' : `, ${layers} layers`}, ${task}: ${type} ${JSON.stringify(targets)} ${JSON.stringify(more)}`;
            return { shown, family, task, peft, layers };
          }),
        ),
      ),
  ),
);
export type Case = (typeof CASES)[number];

/** Returns tensors with the first layer's repeated for the new layers. */
function deepened(tensors: ReadonlyMap<string, Tensor>, layers: number): Map<string, Tensor> {
  const found = new Map(tensors);
  for (const [name, tensor] of tensors) {
    if (!/\.layers?\.0\./.test(name)) continue;
    for (let n = 1; n < layers; n++) found.set(name.replace(/(\.layers?\.)0\./, `$1${n}.`), tensor);
  }
  return found;
}

/** Writes the base with more layers, and returns its folder. */
function deepBase(family: string, layers: number, out: string): string {
  const dir = join(out, `${family}-${layers}`);
  mkdirSync(dir, { recursive: true });
  const text = readFileSync(join(HERE, family, 'base', 'config.json'), 'utf8');
  const deep = text.replaceAll(/"num_hidden_layers": \d+/g, `"num_hidden_layers": ${layers}`);
  writeFileSync(join(dir, 'config.json'), deep);
  const file = mapSafetensors(join(HERE, family, 'base', 'model.safetensors'));
  writeSafetensors(join(dir, 'model.safetensors'), deepened(file.tensors, layers), {
    format: 'pt',
  });
  file.close();
  return dir;
}

/** Attaches and saves a case's adapter. @param number of the case, which names its folder below `out` */
export function write({ family, task, peft, layers }: Case, number: number, out: string): Written {
  const base = layers === null ? join(HERE, family, 'base') : deepBase(family, layers, out);
  const config = JSON.parse(readFileSync(join(base, 'config.json'), 'utf8')) as HfConfig;
  const file = mapSafetensors(join(base, 'model.safetensors'));
  const model = buildModel(config, file.tensors, { dtype: 'f32', quantization: null });
  const { head, peft: peftTask } = taskFor(task);
  const options = { labels: ['a', 'b'], problem_type: 'single_label_classification' };
  const run = { run: 1, seed: 3, head: head ? headOf({ task, task_options: options }) : null };
  const adapter = attachMethod(model, peft, run);
  const dir = join(out, String(number));
  mkdirSync(dir, { recursive: true });
  writeAdapter(dir, adapter, {
    base: { config, tokenizerFiles: null },
    baseName: base,
    task: peftTask,
    headConfig: head ? head.config(options) : null,
    peft,
  });
  adapter.detach();
  model.dispose();
  file.close();
  return { base, dir, models: peftTask.hasHead === false ? '' : `For${peftTask.models}` };
}
