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

/** The head that a job's task wants of its base; null where it learns with the base's own, or none. */
export function headOf({ task, task_options: options }: TaskOf): HeadRequest | null {
  const { head } = taskFor(task);
  const outputs = head?.outputs(options) ?? null;
  return head && outputs !== null ? { kind: head.kind, outputs } : null;
}

/** @throws DomainError where a task learns what a base writes, and the base's files have no head for tokens */
export function checkWrites({ task: name }: Pick<Spec, 'task'>, config: HfConfig): void {
  if (useOf(taskFor(name)) !== 'chat' || optionsOf(config).lmHead) return;
  const kind = modelKind(forConfig(config).paths);
  const others = tasks.filter((one) => fits(one, kind) && useOf(one) !== 'chat');
  const [architecture] = config['architectures'] as readonly string[];
  const message = `task ${name} requires a base that generates tokens, but this one (${architecture}) has no language-model head; use ${others.map((one) => one.name).join(' or ')}`;
  throw new DomainError('invalid_value', message, 'graft.task');
}

/** What an adapter's folder says of its head, because PEFT keeps nothing of it. */
export interface HeadFiles {
  /** For config.json. */
  readonly headConfig: JsonObject | null;
  /** Where the head spells with letters of its own. */
  readonly vocabulary: VocabularyFiles | null;
}

export function headFilesOf(spec: TaskOf): HeadFiles {
  const { head, letters } = taskFor(spec.task);
  const { task_options: options } = spec;
  return {
    headConfig: headOf(spec) && (head?.config(options) ?? null),
    vocabulary: letters?.files(options) ?? null,
  };
}

/** A Spec whose task's options are as they are on its base, which may say what they left open. */
export function learntOn(spec: Spec, config: HfConfig): Spec {
  const { letters } = taskFor(spec.task);
  if (!letters) return spec;
  return { ...spec, task_options: letters.on(spec.task_options, outlineOf(config)) as Spec['task_options'] }; // prettier-ignore
}

/** Options that the data filled in, whose labels have the order of the base's id2label where that names just these. */
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

/** A task's options as its finished job has them. @param stored the letters of its adapter */
export function trainedOptions(
  { task, task_options: options }: TaskOf,
  stored: () => readonly string[] | null,
): Spec['task_options'] {
  const { letters } = taskFor(task);
  return (letters?.trained(options, stored) ?? options) as Spec['task_options'];
}

/**
 * A task's options where a job goes on from an adapter of the same task.
 * @param begun the adapter's letters; null: it has none of its own
 * @throws DomainError naming the field by which it would compute something else
 */
export function continuedOptions(
  { task, task_options: options }: TaskOf,
  begun: readonly string[] | null,
): Spec['task_options'] {
  const { letters } = taskFor(task);
  return (letters?.continued(options, begun) ?? options) as Spec['task_options'];
}
