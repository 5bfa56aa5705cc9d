/** LayerNorm tuning, arXiv:2312.11420: a run has its own norms, which start as the base's. No other weight trains. */
import type { Tensor } from '@graft/kernels';
import { DomainError, shorten } from '@graft/contracts';
import { z } from 'zod';
import type { ModuleIndex } from '../nn/outline/outline.js';
import type { Role } from '../nn/layers/linear.js';
import type { Norm } from '../nn/layers/norm.js';
import { defineMethod } from './method.js';
import { moduleNames, modulesToSave } from './frame/fields.js';
import {
  inDtype,
  ModuleSizes,
  ModulesToSave,
  trainModulesToSave,
} from './targets/modules-to-save.js';
import { ModuleParameters, restore } from './frame/parameters.js';
import { matcher } from './targets/targets.js';

const Options = z.strictObject({
  target_modules: moduleNames
    .nullable()
    .default(null)
    .describe(
      'Names of the normalization layers to train, or a regular expression over their paths. Default (null): those that PEFT selects',
    ),
  exclude_modules: moduleNames
    .nullable()
    .default(null)
    .describe('Names of the modules to exclude, or a regular expression over their paths'),
  modules_to_save: modulesToSave,
});
type Options = z.infer<typeof Options>;

const LAYER = ['input_layernorm', 'post_attention_layernorm'];
const GEMMA = [...LAYER, 'pre_feedforward_layernorm', 'post_feedforward_layernorm', 'norm'];
/** Norms that PEFT trains if target_modules is null, by model_type; for other models, all norms. */
const DEFAULTS: Readonly<Record<string, readonly string[]>> = {
  llama: [...LAYER, 'norm'],
  mistral: [...LAYER, 'norm'],
  gemma: [...LAYER, 'norm'],
  gemma2: GEMMA,
  gemma3_text: GEMMA,
  qwen2: ['post_attention_layernorm'],
  qwen3: ['post_attention_layernorm'],
  bloom: [...LAYER, 'ln_f'],
  falcon: [...LAYER, 'ln_f'],
  gpt2: ['ln_1', 'ln_2', 'ln_f'],
  gptj: ['ln_1', 'ln_f'],
  phi: ['input_layernorm', 'final_layernorm'],
  bart: ['self_attn_layer_norm', 'encoder_attn_layer_norm', 'final_layer_norm'],
  t5: ['layer_norm', 'final_layer_norm'],
  mt5: ['layer_norm', 'final_layer_norm'],
};

const PART = 'ln_tuning_layers';

interface Named {
  readonly path: string;
}
type Index<N extends Named> = ModuleIndex<Named & { readonly role: Role }, N, Named>;

const lastSegment = (path: string): string => path.slice(path.lastIndexOf('.') + 1);

function namesOf<N extends Named>(
  modules: Index<N>,
  { target_modules: targets }: Options,
  modelType: string,
): readonly string[] | string {
  const all = (): string[] => [...new Set(modules.norms().map(({ path }) => lastSegment(path)))];
  return targets ?? DEFAULTS[modelType] ?? all();
}

/** Norms that target_modules selects. @throws DomainError if it matches other modules or none */
function targetNorms<N extends Named>(modules: Index<N>, options: Options, modelType: string): N[] {
  const names = namesOf(modules, options, modelType);
  const matches = matcher(names, 'peft.target_modules');
  const excluded = matcher(options.exclude_modules ?? [], 'peft.exclude_modules');
  const isSaved = (path: string): boolean =>
    (options.modules_to_save ?? []).some((name) => `.${path}.`.includes(`.${name}.`));
  const isTarget = ({ path }: Named): boolean => matches(path) && !excluded(path) && !isSaved(path);
  const other = [...modules.linears(), ...modules.embeddings()].find(isTarget);
  if (other) {
    const message = `target_modules matches ${other.path}, which is not a norm; to train it whole, list it in modules_to_save`;
    throw new DomainError('unsupported', message, 'peft.target_modules');
  }
  const norms = modules.norms().filter(isTarget);
  if (norms.length > 0) return norms;
  const known = [...new Set(modules.norms().map(({ path }) => lastSegment(path)))].join(', ');
  const message = `no module matches target_modules ${shorten(JSON.stringify(names), 200)}; this model's norms are: ${known}`;
  throw new DomainError('invalid_value', message, 'peft.target_modules');
}

export const lnTuning = defineMethod<Options>({
  name: 'LN_TUNING',
  title: 'LayerNorm tuning',
  summary:
    'Trains only the normalization layers: a few hundred parameters per layer and no extra computation.',
  paper: 'https://arxiv.org/abs/2312.11420',
  relativeSize: 0.008,
  defaultLearningRate: 1e-3,
  tried: [{}],
  options: Options,
  unsupported: {},
  tensors: { [PART]: 'module', [`${PART}.bias`]: 'parameter' },
  footprint(outline, options, { modelType }) {
    const own = new ModuleSizes();
    trainModulesToSave(own, outline, options.modules_to_save ?? []);
    const norms = targetNorms(outline, options, modelType);
    const numbers = norms.reduce(
      (sum, { features, hasBias }) => sum + features * (hasBias ? 2 : 1),
      0,
    );
    return { trainableParameters: own.total + numbers, virtualTokens: 0 };
  },
  attach(model, options, { run, seed }) {
    const { modules } = model;
    const modelType = model.config.model_type;
    const norms = targetNorms(modules, options, modelType);
    const own = new ModulesToSave(run);
    const sets = norms.map(({ path }) => new ModuleParameters(path, seed));
    const detach = (): void => {
      modules.detach(run);
      [own, ...sets].forEach((each) => each.dispose());
    };
    try {
      norms.forEach((norm, i) => trainNorm(norm, run, sets[i] as ModuleParameters));
      trainModulesToSave(own, modules, options.modules_to_save ?? []);
    } catch (error) {
      detach();
      throw error;
    }
    const ofNorms = new Map(sets.flatMap(({ trained }) => [...trained]));
    const parameters = new Map([...ofNorms, ...own.parameters]);
    return {
      parameters,
      exported: () => new Map(parameters),
      adapted: norms.map(({ path }) => path),
      load: (stored) => restore(parameters, stored),
      resolvedConfig: () => ({ ...options, target_modules: namesOf(modules, options, modelType) }),
      merged: () =>
        new Map([
          ...inDtype(own.parameters, model.dtype),
          ...inDtype(renamed(ofNorms), model.dtype),
        ]),
      detach,
    };
  },
});

function trainNorm(norm: Norm, run: number, parameters: ModuleParameters): void {
  const { bias } = norm;
  norm.attach(run, {
    weight: parameters.parameter(PART, () => norm.weight),
    ...(bias && { bias: parameters.parameter(`${PART}.bias`, () => bias) }),
  });
}

/** Parameters by their names in the base. */
const renamed = (parameters: ReadonlyMap<string, Tensor>): Map<string, Tensor> =>
  new Map(
    [...parameters].map(([name, tensor]) => [
      name.endsWith('.bias') ? name.replace(`.${PART}`, '') : name.replace(`.${PART}`, '.weight'),
      tensor,
    ]),
  );
