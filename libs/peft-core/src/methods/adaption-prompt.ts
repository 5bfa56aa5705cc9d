/**
 * LLaMA-Adapter, arXiv:2303.16199: in the last layers queries also attend to a trained prompt, through a gate that
 * starts at zero (nn/sites/gated-prompts.ts). Each layer has P [p, D] from N(0, 1) and g [1] from 0.
 */
import { tidy, zeros } from '@graft/kernels';
import type { Tensor } from '@graft/kernels';
import { DomainError } from '@graft/contracts';
import { z } from 'zod';
import type { StackShape } from '../nn/outline/outline.js';
import { defineMethod } from './method.js';
import { parameter, restore } from './frame/parameters.js';
import { normal } from '../nn/random-init.js';

const Options = z.strictObject({
  adapter_len: z
    .int()
    .min(1)
    .max(4096)
    .nullable()
    .default(null)
    .describe('Number of adapter tokens per layer (required)'),
  adapter_layers: z
    .int()
    .min(1)
    .nullable()
    .default(null)
    .describe('Number of adapted layers, counted from the last (required)'),
  target_modules: z
    .string()
    .nullable()
    .default(null)
    .describe(
      'Name of the attention modules. Default: that of the model family, the only valid value',
    ),
});
type Options = z.infer<typeof Options>;

interface Family {
  readonly target: string;
  readonly throughOutput: boolean;
}

/**
 * Families that PEFT supports, with the name of their attention module and whether the prompt's output passes through
 * o.
 */
const FAMILIES: Readonly<Record<string, Family>> = {
  llama: { target: 'self_attn', throughOutput: true },
  mistral: { target: 'self_attn', throughOutput: true },
  gpt2: { target: 'attn', throughOutput: false },
};

const PROMPT = 'adaption_prompt';
const GATE = 'adaption_gate';

type Sizes = Pick<StackShape, 'hiddenSize' | 'heads' | 'kvHeads' | 'headDim'>;

/** Modules that contain the attention projections, by layer. */
interface Modules {
  linears(roles: readonly ['o']): readonly { readonly path: string }[];
}

interface Place {
  readonly layer: number;
  /** Path of the attention module. */
  readonly path: string;
}

/**
 * Layers that get a prompt. @throws DomainError if PEFT does not support the model, or options are missing or do not
 * fit
 */
function placesIn(
  sizes: Sizes,
  modules: Modules,
  options: Options,
  modelType: string,
): { readonly places: readonly Place[]; readonly family: Family } {
  const family = FAMILIES[modelType];
  if (!family) {
    const known = Object.keys(FAMILIES).join(', ');
    const message = `ADAPTION_PROMPT is not supported for model_type ${modelType}: PEFT supports ${known}; choose another method`;
    throw new DomainError('unsupported', message, 'peft.peft_type');
  }
  checkHeads(sizes, family.throughOutput);
  const refuse = (field: keyof Options, message: string): never => {
    throw new DomainError('invalid_value', message, `peft.${field}`);
  };
  const { adapter_len: length, adapter_layers: count, target_modules: target } = options;
  if (length === null) refuse('adapter_len', 'adapter_len is required');
  if (count === null) refuse('adapter_layers', 'adapter_layers is required');
  if (target !== null && target !== family.target)
    refuse(
      'target_modules',
      `expected ${family.target}, got ${target.slice(0, 100)}; leave it out`,
    );
  const all = modules
    .linears(['o'])
    .map(({ path }, layer): Place => ({ layer, path: path.slice(0, path.lastIndexOf('.')) }));
  if ((count as number) > all.length)
    refuse('adapter_layers', `expected at most the model's ${all.length} layers, got ${count}`);
  return { places: all.slice(-(count as number)), family };
}

/**
 * Checks the head counts, which PEFT derives from the widths of linear layers. @throws DomainError if they come out
 * wrong
 */
function checkHeads({ hiddenSize, heads, kvHeads, headDim }: Sizes, counts: boolean): void {
  if (!counts || Math.floor(hiddenSize / (kvHeads * headDim)) * kvHeads === heads) return;
  const message = `ADAPTION_PROMPT is not supported for ${heads} heads of ${headDim} with a hidden size of ${hiddenSize}, which PEFT computes incorrectly; choose another method`;
  throw new DomainError('unsupported', message, 'peft.peft_type');
}

export const adaptionPrompt = defineMethod<Options>({
  name: 'ADAPTION_PROMPT',
  title: 'LLaMA-Adapter',
  summary:
    'Trainable prompts that the last layers also attend to, through a zero-initialized gate (LLaMA-Adapter).',
  paper: 'https://arxiv.org/abs/2303.16199',
  // the paper's
  defaultLearningRate: 9e-3,
  options: Options,
  unsupported: {},
  tensors: { [PROMPT]: 'parameter', [GATE]: 'parameter' },
  unmerged: "the adapter prompts are not part of the base's weights",
  withoutHeads: 'its config in PEFT has no modules_to_save',
  footprint(outline, options, { modelType }) {
    const { length } = placesIn(outline, outline, options, modelType).places;
    const { hiddenSize, heads, headDim } = outline;
    const p = options.adapter_len as number;
    return {
      trainableParameters: length * (p * hiddenSize + 1),
      virtualTokens: 0,
      // scores, attention weights and their output, in addition to the prompt's keys and values
      held: {
        perRow: length * heads * (3 * p + 2 * headDim),
        numbers: 6 * length * p * hiddenSize,
      },
    };
  },
  attach(model, options, { run, seed }) {
    const { modules, config } = model;
    const { places, family } = placesIn(model, modules, options, config.model_type);
    const shape = [1, options.adapter_len as number, model.hiddenSize];
    const parameters = new Map<string, Tensor>();
    const made = (name: string, values: () => Tensor): Tensor => {
      const one = tidy(() => parameter(values()));
      parameters.set(name, one);
      return one;
    };
    const layers = places.map(({ layer, path }) => {
      const [prompt, gate] = [`${path}.${PROMPT}`, `${path}.${GATE}`];
      const own = {
        prompt: made(prompt, () => normal(shape, 1, seed, prompt)),
        gate: made(gate, () => zeros([1])),
      };
      return [layer, own] as const;
    });
    const { throughOutput } = family;
    modules.attention.attach(run, { layers: new Map(layers), throughOutput });
    return {
      parameters,
      exported: () => new Map(parameters),
      load: (stored) => restore(parameters, stored),
      resolvedConfig: () => ({ ...options, target_modules: family.target }),
      detach() {
        modules.detach(run);
        parameters.forEach((each) => each.dispose());
      },
    };
  },
});
