// Checks an adapter's files for a base before they are stored. Loads no native code and reads no weights.
import { readFileSync, statSync } from 'node:fs';
import { DomainError } from '@graft/contracts';
import { KernelError, safetensorsHeader } from '@graft/kernels';
import { parsePeft } from '../../methods/frame/config.js';
import type { HfConfig } from '../../nn/hf-files.js';
import { outlineOf } from '../../models/registry.js';
import { footprintOf } from '../../methods/frame/base-footprint.js';
import { adapterConfig, MAX_CONFIG_BYTES, type AdapterConfig } from './adapter-config.js';
import { namesInside } from './peft-names.js';

export interface AdapterInspection {
  readonly peft: AdapterConfig;
  /** Number of values in its tensors. */
  readonly parameters: number;
}

/** Task types whose models generate text and whose adapters have no head. */
const TASK_TYPES: ReadonlySet<unknown> = new Set([null, 'CAUSAL_LM', 'SEQ_2_SEQ_LM']);

/**
 * Checks an adapter's config, tensor names and shapes.
 * @param base config.json of the base
 * @throws DomainError that names what is wrong with the file, or the field that does not fit the base
 */
export function inspectAdapter(
  files: { readonly config: string; readonly weights: string },
  base: HfConfig,
): AdapterInspection {
  if (statSync(files.config).size > MAX_CONFIG_BYTES)
    throw invalid(`adapter_config.json is larger than ${MAX_CONFIG_BYTES} bytes`);
  const peft = adapterConfig(readFileSync(files.config, 'utf8'), 'adapter_config.json');
  const task = peft['task_type'] ?? null;
  if (!TASK_TYPES.has(task)) {
    const message = `task_type ${String(task)}: adapters with a head or for embeddings cannot be imported, because their files do not state what they were trained for`;
    throw new DomainError('unsupported', message, 'peft.task_type');
  }
  const { method, options } = parsePeft(peft);
  footprintOf(peft, base, true);
  const entries = headerOf(files.weights);
  const names = namesInside(
    entries.map(({ name }) => name),
    method.tensors,
  );
  const shapes = method.fileShapes?.(outlineOf(base), options, base.model_type) ?? [];
  const expected = new Map(
    [...shapes].flatMap(([path, parts]) =>
      Object.entries(parts).map(([part, shape]) => [`${path}.${part}`, shape]),
    ),
  );
  for (const { name, shape } of entries) {
    const want = expected.get(names.get(name) ?? '') ?? shape;
    if (want.join() === shape.join()) continue;
    throw invalid(
      `${name} has shape [${shape.join(', ')}], but with this adapter_config.json and base it is [${want.join(', ')}]`,
    );
  }
  const numbers = entries.map(({ shape }) => shape.reduce((a, b) => a * b, 1));
  return { peft, parameters: numbers.reduce((sum, n) => sum + n, 0) };
}

function headerOf(path: string): ReturnType<typeof safetensorsHeader>['entries'] {
  try {
    return safetensorsHeader(path).entries;
  } catch (error) {
    if (!(error instanceof KernelError)) throw error;
    const why = error.message.replace(/^safetensorsHeader\(.*?\): /, '');
    throw invalid(`adapter_model.safetensors is not a safetensors file: ${why}`);
  }
}

const invalid = (what: string): DomainError => new DomainError('invalid_adapter', what, 'file');
