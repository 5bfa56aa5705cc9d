/** Checks of a job's PEFT config against its base and its task. */
import { DomainError } from '@graft/contracts';
import type { CreateJob } from '@graft/contracts';
import { parsePeft, withJobDefaults } from '../methods/frame/config.js';
import type { PeftConfig } from '../methods/frame/config.js';
import { fitsBoth } from '../methods/targets/pattern-prefix.js';
import { checkPatternSizes } from '../methods/targets/pattern.js';
import { forType } from '../models/registry.js';
import {
  headPrefix,
  missingPrefixOf,
  linearNames,
  type StackPaths,
} from '../nn/outline/model-paths.js';
import { refusePacked } from '../methods/frame/base-footprint.js';
import { quantizerFor } from '../quant/registry.js';
import type { Task } from '../tasks/task.js';

/**
 * Returns a job's PEFT config with its defaults. If `modelType` is given, the config is also checked against that
 * family.
 * @throws DomainError with param `peft.<field>`, or invalid_model for an unknown `modelType`
 */
export function checkPeft(peft: PeftConfig, modelType?: string): PeftConfig {
  const { method, options } = parsePeft(withJobDefaults(peft));
  checkPatternSizes(options as object | null);
  if (modelType !== undefined) {
    const { paths } = forType(modelType);
    const { tokenEmbedding: table = null } = paths;
    const embedding = table && table.slice(table.lastIndexOf('.') + 1);
    method.check?.(options, linearNames(paths), embedding);
  }
  return peft === null ? null : { ...(options as object), peft_type: method.name };
}

/** Rejects a config whose task_type is another task's, as in a config copied from an adapter. @throws DomainError */
export function checkTaskType(peft: CreateJob['peft'], { name, peft: { taskType } }: Task): void {
  const type = peft?.['task_type'] ?? null;
  if (type === null || type === taskType) return;
  const message = `task_type is ${JSON.stringify(type)}, but task ${name} has type ${taskType}; remove it`;
  throw new DomainError('invalid_value', message, 'peft.task_type');
}

/**
 * Rejects a config that names the head for a task whose model has none, because PEFT would not find it. @throws
 * DomainError
 */
export function checkWithoutHead(
  peft: PeftConfig,
  { name }: Task,
  modelType: string | undefined,
): void {
  if (peft === null || modelType === undefined) return;
  const { paths } = forType(modelType);
  const head = paths.lmHead;
  for (const field of ['target_modules', 'modules_to_save']) {
    const named = peft[field];
    if (head === undefined || !Array.isArray(named)) continue;
    if (!named.some((one) => one === head || head.endsWith(`.${String(one)}`))) continue;
    const message = `${field} names ${head}, and task ${name} trains the model without its head; leave it out`;
    throw new DomainError('invalid_value', message, `peft.${field}`);
  }
  const prefix = headPrefix(paths);
  checkPatterns(peft, prefix, `task ${name}, whose adapters are of a model without its head`);
  const { layers_to_transform: layers = null, layers_pattern: pattern = null } = peft;
  const { norm } = (paths.encoder ?? (paths.decoder as StackPaths)).attention;
  const [list, number] = norm.slice(prefix.length).split('.');
  if (layers === null || pattern !== null || number !== '{n}') return;
  const message = `PEFT finds the layers of a model without a head (${list}.0) by layers_pattern alone: add "layers_pattern": "${list}"`;
  throw new DomainError('invalid_value', message, 'peft.layers_to_transform');
}

/** Rejects patterns that do not fit PEFT's paths of an encoder without a head. @throws DomainError */
export function checkAlone(peft: PeftConfig, { name }: Task, modelType: string | undefined): void {
  const lacking = modelType === undefined ? null : missingPrefixOf(forType(modelType).paths);
  if (!lacking) return;
  checkPatterns(peft, lacking.prefix, `task ${name} on ${modelType}, whose adapters are of the encoder alone`); // prettier-ignore
}

/** Rejects patterns that cannot be converted to paths without the prefix. @throws DomainError */
function checkPatterns(peft: PeftConfig, prefix: string, whose: string): void {
  for (const field of ['target_modules', 'exclude_modules']) {
    const pattern = peft?.[field];
    if (typeof pattern !== 'string' || fitsBoth(prefix, pattern)) continue;
    const message = `a pattern of ${whose}, begins with ${prefix} or with .*, and has no choices but in parentheses`;
    throw new DomainError('invalid_value', message, `peft.${field}`);
  }
}

/** Rejects an initialization that observes only labeled rows if the task does not know them. @throws DomainError */
export function checkStart(
  peft: PeftConfig,
  { name, supervisedRows }: Task,
  warmStart: boolean,
): void {
  const { method, options } = parsePeft(peft);
  const { supervisedOnly, shown } = method.needs?.(options) ?? {};
  if (warmStart || supervisedOnly === undefined || supervisedRows) return;
  const message = `${shown} is not supported by task ${name}, which has no per-row targets; set ${supervisedOnly} to false`;
  throw new DomainError('invalid_value', message, `peft.${supervisedOnly}`);
}

export function checkQuantization(name: string | null, peft: PeftConfig): void {
  if (name === null) return;
  quantizerFor(name);
  refusePacked(peft, 'remove graft.quantization');
  if (peft !== null) return;
  const message =
    'full fine-tuning is not supported with a quantized base model; choose a method in `peft` or remove quantization';
  throw new DomainError('invalid_value', message, 'graft.quantization');
}
