/** LoRA's starts that use the training data or require unquantized weights, and the memory that each needs. */
import type { Linear } from '../../nn/layers/linear.js';
import type { LinearShape } from '../../nn/outline/outline.js';
import { cordaOf, CordaObserver } from './lora-corda.js';
import type { CordaConfig } from './lora-corda.js';
import { checkEva, directionsOf, evaOf, EvaObserver } from './lora-eva.js';
import type { EvaConfig } from './lora-eva.js';
import { LoraGaObserver, loraGaOf } from './lora-ga.js';
import type { LoraGaConfig } from './lora-ga.js';
import { isPissa, takesFromWeight } from './lora-init.js';
import type { LoftqConfig, LoraInit, LoraSize } from './lora-init.js';
import { decompositionNumbers, inputsOf, numbersIn, outputsOf } from '../frame/linear-sizes.js';
import type { Held } from '../method.js';
import type { Observer, StartNeeds } from '../frame/preparation.js';

interface Options {
  readonly init_lora_weights: LoraInit;
  readonly eva_config: EvaConfig | null;
  readonly corda_config: CordaConfig | null;
  readonly lora_ga_config: LoraGaConfig | null;
  readonly loftq_config: LoftqConfig;
  readonly kasa_config: unknown;
}

const CONFIGS = {
  eva_config: 'eva',
  corda_config: 'corda',
  lora_ga_config: 'lora_ga',
  loftq_config: 'loftq',
} as const;

type StartField = keyof typeof CONFIGS;

/** Options of starts other than the adapter's, each with its start. PEFT ignores them. */
export function unusedStarts(options: Options): [field: StartField, start: string][] {
  const { init_lora_weights: init } = options;
  // PEFT writes an empty loftq_config for every start
  const isGiven = (field: StartField): boolean =>
    options[field] !== null && (field !== 'loftq_config' || Object.keys(options[field]).length > 0);
  return (Object.keys(CONFIGS) as StartField[])
    .filter((field) => isGiven(field) && init !== CONFIGS[field])
    .map((field) => [field, CONFIGS[field]]);
}

export function startNeeds(options: Options): StartNeeds | null {
  const { init_lora_weights: init } = options;
  const starts: readonly LoraInit[] = Object.values(CONFIGS);
  const isByData = starts.includes(init) && init !== 'loftq';
  // PEFT's "olora" also accepts quantized weights
  if (!isByData && init !== 'loftq' && init !== 'mica' && !isPissa(init)) return null;
  return {
    field: 'init_lora_weights',
    shown: `init_lora_weights ${JSON.stringify(init)}`,
    data: isByData,
    markedInFile: init === 'eva',
    packed: init === 'eva',
    ...(init === 'eva' &&
      evaOf(options.eva_config).use_label_mask && { supervisedOnly: 'eva_config.use_label_mask' }),
  };
}

export function startObserver(
  targets: readonly Linear[],
  options: Options,
  sizeOf: (path: string) => LoraSize,
  seed: number,
): Observer | null {
  switch (options.init_lora_weights) {
    case 'eva':
      return new EvaObserver(targets, (path) => sizeOf(path).r, evaOf(options.eva_config));
    case 'corda':
      return new CordaObserver(targets, sizeOf, cordaOf(options.corda_config));
    case 'lora_ga':
      return new LoraGaObserver(targets, sizeOf, loraGaOf(options.lora_ga_config), seed);
    default:
      return null;
  }
}

/** Checks that the start fits the linear layer. @throws DomainError if it does not */
export function checkStart(linear: LinearShape, r: number, options: Options): void {
  if (options.init_lora_weights === 'eva') checkEva(linear, r, evaOf(options.eva_config));
}

/** Start options with PEFT's defaults. */
export function startConfigs(options: Options): Partial<Options> {
  const { init_lora_weights: init } = options;
  return {
    ...(init === 'eva' && { eva_config: evaOf(options.eva_config) }),
    ...(init === 'corda' && { corda_config: cordaOf(options.corda_config) }),
  };
}

/** Memory needed in addition to trainable parameters: frozen factors, calibration statistics and decompositions. */
export function startHolds(
  targets: readonly LinearShape[],
  options: Options,
  rankOf: (path: string) => number,
): Held {
  const { init_lora_weights: init } = options;
  const down = takesFromWeight(init) || options.kasa_config !== null;
  const up = down || init === 'mica';
  const factors = targets.reduce(
    (sum, { path, inFeatures, outFeatures }) =>
      sum + rankOf(path) * (Number(down) * inFeatures + Number(up) * outFeatures),
    0,
  );
  const decomposed = down || up || init === 'loftq' ? decompositionNumbers(targets) : 0;
  const numbers = factors + decomposed;
  switch (init) {
    case 'eva':
      return {
        numbers: numbers + OF_DOUBLE + ofDirections(targets, rankOf, evaOf(options.eva_config)),
      };
    case 'corda':
      return { numbers: numbers + OF_LAPACK + factors + squares(targets) };
    case 'lora_ga':
      return {
        numbers: numbers + OF_LAPACK + factors + numbersIn(targets),
        perRow: inputsOf(targets) + 2 * outputsOf(targets),
        startKeepsAll: true,
      };
    case 'loftq':
      return { numbers: numbers + OF_LAPACK + numbersIn(targets) };
    default:
      return { numbers };
  }
}

/** Number of f32 values whose memory LAPACK keeps after its first inversion or decomposition. */
const OF_LAPACK = 5_000_000;
/**
 * Number of f32 values that f64 work takes, including random numbers that JavaScript no longer references and has not
 * freed yet.
 */
const OF_DOUBLE = 20_000_000;

/** Size of covariance matrices: at most one for each linear layer, fewer if layers share an input. */
const squares = (targets: readonly LinearShape[]): number =>
  targets.reduce((sum, { inFeatures }) => sum + inFeatures ** 2, 0);

/** Copies of each trainable parameter: f32 values, gradients, moments and working copies. */
const TRAINED_TIMES = 6;

/** Memory for the f64 directions during the search, and for ranks that all go to the widest linear layers. */
function ofDirections(
  targets: readonly LinearShape[],
  rankOf: (path: string) => number,
  config: EvaConfig,
): number {
  const looked = targets.map((linear) => ({
    linear,
    most: directionsOf(rankOf(linear.path), config),
  }));
  const found = looked.reduce((sum, { linear, most }) => sum + 2 * most * linear.inFeatures, 0);
  const width = ({ inFeatures, outFeatures }: LinearShape): number => inFeatures + outFeatures;
  const even = targets.reduce((sum, linear) => sum + rankOf(linear.path) * width(linear), 0);
  let left = targets.reduce((sum, { path }) => sum + rankOf(path), 0);
  let moved = 0;
  for (const { linear, most } of looked.sort((a, b) => width(b.linear) - width(a.linear))) {
    const taken = Math.min(left, most);
    left -= taken;
    moved += taken * width(linear);
  }
  return found + TRAINED_TIMES * Math.max(0, moved - even);
}
