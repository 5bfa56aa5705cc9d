import { DomainError, type Spec } from '@graft/contracts';
import type { VocabularyFiles } from '../../data/processor-files.js';
import type { JsonObject } from '../../data/json-line.js';
import type { HfConfig } from '../../nn/hf-files.js';
import { forConfig, optionsOf, outlineOf } from '../../models/registry.js';
import type { HeadRequest } from '../../nn/outline/head-shapes.js';
import { modelKind } from '../../nn/outline/model-paths.js';
import { fits, taskFor, tasks } from '../registry.js';
import { useOf } from './model-use.js';

type TaskOf = Pick<Spec, 'task' | 'task_options'>;

/** Returns the task head that a job adds. Null if it trains the base model's own head, or none. */
export function headOf({ task, task_options: options }: TaskOf): HeadRequest | null {
  const { head } = taskFor(task);
  const outputs = head?.outputs(options) ?? null;
  return head && outputs !== null ? { kind: head.kind, outputs } : null;
}

/**
 * Rejects a base model without a language-model head for a task that generates text.
 * @throws DomainError
 */
export function checkWrites({ task: name }: Pick<Spec, 'task'>, config: HfConfig): void {
  if (useOf(taskFor(name)) !== 'chat' || optionsOf(config).lmHead) return;
  const kind = modelKind(forConfig(config).paths);
  const others = tasks.filter((one) => fits(one, kind) && useOf(one) !== 'chat');
  const [architecture] = config['architectures'] as readonly string[];
  const message = `task ${name} requires a base that generates tokens, but this one (${architecture}) has no language-model head; use ${others.map((one) => one.name).join(' or ')}`;
  throw new DomainError('invalid_value', message, 'graft.task');
}

/** Files in an adapter's folder that describe its head, because PEFT does not store this. */
export interface HeadFiles {
  /** Fields of config.json. */
  readonly headConfig: JsonObject | null;
  /** Vocabulary, if the head has its own. */
  readonly vocabulary: VocabularyFiles | null;
}

export function headFilesOf(spec: TaskOf): HeadFiles {
  const { head, vocabulary } = taskFor(spec.task);
  const { task_options: options } = spec;
  return {
    headConfig: headOf(spec) && (head?.config(options) ?? null),
    vocabulary: vocabulary?.files(options) ?? null,
  };
}

/** Returns the Spec with task options completed for its base model. */
export function withBaseVocabulary(spec: Spec, config: HfConfig): Spec {
  const { vocabulary } = taskFor(spec.task);
  if (!vocabulary) return spec;
  return { ...spec, task_options: vocabulary.on(spec.task_options, outlineOf(config)) as Spec['task_options'] }; // prettier-ignore
}

/**
 * Returns options with labels found in the data. If the base model's `id2label` has exactly these labels,
 * they get its order.
 */
export function inOrderOf(
  config: HfConfig,
  found: Readonly<Record<string, unknown>>,
  asked: Readonly<Record<string, unknown>>,
): Readonly<Record<string, unknown>> {
  const labels = found['labels'];
  if (!Array.isArray(labels) || asked['labels'] !== null) return found;
  const known = Object.entries((config['id2label'] ?? {}) as Readonly<Record<string, unknown>>)
    .sort(([one], [other]) => Number(one) - Number(other))
    .map(([, name]) => name);
  const names = new Set(known);
  const isSame = known.length === labels.length && labels.every((label) => names.has(label));
  return isSame ? { ...found, labels: known } : found;
}

/** Returns the task options of a finished job. @param stored vocabulary of its adapter */
export function trainedOptions(
  { task, task_options: options }: TaskOf,
  stored: () => readonly string[] | null,
): Spec['task_options'] {
  const { vocabulary } = taskFor(task);
  return (vocabulary?.trained(options, stored) ?? options) as Spec['task_options'];
}

/**
 * Returns the task options of a job that starts from an adapter of the same task.
 * @param initial vocabulary of the adapter; null if it does not have its own
 * @throws DomainError naming the field that requires another vocabulary
 */
export function continuedOptions(
  { task, task_options: options }: TaskOf,
  initial: readonly string[] | null,
): Spec['task_options'] {
  const { vocabulary } = taskFor(task);
  return (vocabulary?.continued(options, initial) ?? options) as Spec['task_options'];
}
