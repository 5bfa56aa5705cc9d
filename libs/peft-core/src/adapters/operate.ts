// Runs the `operation` of a job on its base in steps: it reads adapters and writes the files of an adapter or model.
import { join } from 'node:path';
import { tidy, type Tensor } from '@graft/kernels';
import {
  DomainError,
  nameOfOperation,
  type AdapterOperation,
  type GgufQuantization,
  type Spec,
} from '@graft/contracts';
import { attachMethod } from '../methods/frame/attach-method.js';
import type { Base } from '../io/base/base-folder.js';
import { commitFolder, folderBytes, type FileFact } from '../io/commit-folder.js';
import { writeWeights } from '../io/base/model-folder.js';
import { readAdapter, writeAdapter, type StoredAdapter } from '../io/adapter/peft-adapter.js';
import { pythonJson } from '../io/python-json.js';
import { writeWholeText } from '../io/whole-file.js';
import type { Adapter } from '../methods/method.js';
import { headFilesOf, headOf } from '../tasks/heads/head-request.js';
import { taskFor } from '../tasks/registry.js';
import type { FactOfRun } from '../train/facts.js';
import type { RunBytes } from '../train/run-bytes.js';
import { combining } from './combine.js';
import { converting, type Converted } from './convert.js';
import { checkGguf, writeGgufAdapter, writeGgufModel, type GgufTarget } from './export-gguf.js';
import { forVllm } from './export-vllm.js';
import { changedWeights, mergeBytes, mergedWeights, wholeWeights } from './merge.js';
import type { AdapterFile } from './lora-factors.js';
import { checkOperation } from './supported.js';
import type { Work } from './work.js';

export interface OperationOptions {
  /** Returns a unique run id. */
  readonly nextId: () => number;
  readonly baseName: string;
  /** Directories of the adapters, in order. */
  readonly adapterDirs: readonly string[];
  /** Working directory; the result is written to `adapter/` in it. */
  readonly workDir: string;
  readonly onLog?: (level: 'info' | 'warn', message: string) => void;
}

export type OperationResult = FactOfRun<'finished'> & {
  /** Number of parameters of the resulting adapter or model. */
  readonly parameters: number;
};

/** File with the errors of a conversion, stored with its adapter. */
export const CONVERSION_REPORT = 'conversion.json';

const WORDS: Readonly<Record<AdapterOperation['type'], string>> = {
  merge: 'Merging the adapter into the base',
  combine: 'Combining adapters',
  convert: 'Converting the adapter to LoRA',
  export: 'Writing files for other programs',
};

export const operationInWords = ({ type }: AdapterOperation): string => WORDS[type];

/**
 * Returns the memory that an operation needs in addition to the base: its adapters twice, and whole weights if they
 * change.
 */
export function operationBytes(
  { model }: Pick<Base, 'model'>,
  { type }: AdapterOperation,
  adapterDirs: readonly string[],
): RunBytes {
  const adapters = adapterDirs.reduce((sum, dir) => sum + folderBytes(dir), 0);
  const largest = Math.max(
    ...model.modules.linears().map(({ inFeatures, outFeatures }) => inFeatures * outFeatures),
  );
  // one update, its decomposition and the workspace of that
  const activations = 6 * 4 * largest;
  const isWhole = type === 'merge' || type === 'export';
  const state = 3 * adapters + (isWhole && adapterDirs.length > 0 ? mergeBytes(model) : 0);
  return { state, activations, data: 0, total: state + activations };
}

/** Runs an operation. @throws DomainError naming the adapter or option that does not fit */
export function* operate(base: Base, spec: Spec, options: OperationOptions): Work<OperationResult> {
  const { operation } = spec;
  if (!operation) throw new Error('the spec has no operation');
  const adapters = options.adapterDirs.map((dir) => readAdapter(dir, base.config));
  try {
    checkOperands(base, spec, operation, adapters);
    if (operation.type === 'merge') return merged(base, spec, options, only(adapters));
    if (operation.type === 'convert') return yield* converted(base, spec, options, only(adapters));
    if (operation.type === 'export') return yield* exported(base, spec, options, adapters);
    return written(base, spec, options, yield* combining(adapters, operation));
  } finally {
    for (const adapter of adapters) adapter.dispose();
  }
}

/** Checks the adapters again: the API does so before it creates a job, but may run another build. */
function checkOperands(
  base: Base,
  spec: Spec,
  operation: AdapterOperation,
  adapters: readonly StoredAdapter[],
): void {
  const name = nameOfOperation(operation);
  const operands = adapters.length > 0 ? adapters.map(({ peft }) => peft) : [null];
  operands.forEach((peft, i) => {
    const param = operation.type === 'combine' ? `adapters[${i}]` : 'model';
    checkOperation(
      name,
      { peft, task: spec, base: base.config, family: base.config.model_type },
      param,
    );
  });
}

function only([adapter, ...others]: readonly StoredAdapter[]): StoredAdapter {
  if (adapter && others.length === 0) return adapter;
  throw new DomainError('invalid_value', `expected one adapter, got ${others.length + 1}`, 'model');
}

function attached(
  base: Base,
  spec: Spec,
  { nextId }: Pick<OperationOptions, 'nextId'>,
  { peft, tensors, adapters = [] }: AdapterFile & { readonly adapters?: readonly AdapterFile[] },
): Adapter {
  const adapter = attachMethod(base.model, peft, {
    run: nextId(),
    seed: spec.seed,
    tokenize: (text: string) => base.tokenizer.encode(text, { special: true }),
    head: headOf(spec),
    adapters,
    warmStart: true,
  });
  try {
    adapter.load(tensors);
    return adapter;
  } catch (error) {
    adapter.detach();
    throw error;
  }
}

function* converted(
  base: Base,
  spec: Spec,
  options: OperationOptions,
  source: StoredAdapter,
): Work<OperationResult> {
  const operation = spec.operation as Extract<AdapterOperation, { type: 'convert' }>;
  const adapter = attached(base, spec, options, source);
  try {
    const made = yield* converting(adapter, source.peft, operation);
    options.onLog?.('info', inWords(made));
    return written(base, spec, options, made, reportOf(made));
  } finally {
    adapter.detach();
  }
}

const reportOf = ({ error, modules }: Converted): Report => ({ error, modules });
type Report = Pick<Converted, 'error' | 'modules'>;

function inWords({ error, modules }: Converted): string {
  const worst = modules.reduce((a, b) => (b.error > a.error ? b : a));
  const ranks = modules.map(({ rank }) => rank);
  const [least, most] = [Math.min(...ranks), Math.max(...ranks)];
  const rank = least === most ? `rank ${least}` : `ranks ${least} to ${most}`;
  return `The LoRA has ${rank} and leaves out ${percent(error)} of the update; most at ${worst.path}: ${percent(worst.error)}`;
}

const percent = (share: number): string => `${Number((100 * share).toPrecision(2))} %`;

/** Attaches an adapter, which rejects one that does not fit the base, and writes it unchanged. */
function written(
  base: Base,
  spec: Spec,
  options: OperationOptions,
  made: AdapterFile,
  report: Report | null = null,
): OperationResult {
  const task = taskFor(spec.task);
  const adapter = attached(base, spec, options, made);
  try {
    const dir = join(options.workDir, 'adapter');
    const { baseName } = options;
    const files = commitFolder(
      dir,
      (tmp) => {
        writeAdapter(tmp, adapter, {
          base,
          baseName,
          task: task.peft,
          ...headFilesOf(spec),
          peft: made.peft,
        });
        if (report) writeWholeText(join(tmp, CONVERSION_REPORT), pythonJson({ ...report }));
      },
      null,
    );
    return finished(dir, files, sizeOf(adapter));
  } finally {
    adapter.detach();
    for (const tensor of made.tensors.values()) tensor.dispose();
  }
}

const sizeOf = ({ parameters }: Adapter): number =>
  [...parameters.values()].reduce((sum, { size }) => sum + size, 0);

function merged(
  base: Base,
  spec: Spec,
  options: OperationOptions,
  source: StoredAdapter,
): OperationResult {
  const { model } = base;
  const adapter = attached(base, spec, options, source);
  try {
    const dir = join(options.workDir, 'adapter');
    if (model.quantization !== null)
      options.onLog?.(
        'info',
        `The base model is quantized (${model.quantization}); the merged model contains its dequantized weights in ${model.dtype}`,
      );
    const files = tidy(() => {
      const weights = mergedWeights(model, adapter, source.peft.peft_type);
      return commitFolder(dir, (tmp) => void writeWeights(tmp, weights, model.dtype, base), null);
    });
    return finished(dir, files, model.parameterCount);
  } finally {
    adapter.detach();
  }
}

function* exported(
  base: Base,
  spec: Spec,
  options: OperationOptions,
  adapters: readonly StoredAdapter[],
): Work<OperationResult> {
  const operation = spec.operation as Extract<AdapterOperation, { type: 'export' }>;
  const { format, quantization = 'F16' } = operation;
  if (format === 'vllm') return written(base, spec, options, forVllm(only(adapters)));
  const target = { base, ...options };
  const dir = join(options.workDir, 'adapter');
  checkGguf(target, operation);
  if (format === 'gguf_adapter') {
    const source = only(adapters);
    const count = [...source.tensors.values()].reduce((sum, { size }) => sum + size, 0);
    return finished(dir, yield* writeGgufAdapter(target, source), count);
  }
  const [source] = adapters;
  if (source === undefined) return yield* wholeGguf(target, new Map(), quantization);
  only(adapters);
  const adapter = attached(base, spec, options, source);
  try {
    const changed = tidy(() => changedWeights(adapter, source.peft.peft_type));
    return yield* wholeGguf(target, changed, quantization);
  } finally {
    adapter.detach();
  }
}

function* wholeGguf(
  target: GgufTarget,
  changed: ReadonlyMap<string, Tensor>,
  quantization: GgufQuantization,
): Work<OperationResult> {
  const { model } = target.base;
  try {
    const files = yield* writeGgufModel(target, wholeWeights(model, changed), quantization);
    return finished(join(target.workDir, 'adapter'), files, model.parameterCount);
  } finally {
    for (const tensor of changed.values()) tensor.dispose();
  }
}

const finished = (
  dir: string,
  adapter: readonly FileFact[],
  parameters: number,
): OperationResult => ({
  type: 'finished',
  step: 0,
  published_step: 0,
  dir,
  adapter,
  trained_tokens: 0,
  forgetting: null,
  parameters,
});
