// Detects the problem type and the labels of a file.
import { DomainError } from '@graft/contracts';
import { shown } from '../../data/json-scan.js';
import type { JsonObject } from '../../data/json-line.js';
import { inOrder, isAmong, MOST_LABELS, notAmong, type Label } from './labels.js';
import type { Survey } from '../task.js';

/** Values of Transformers' `problem_type`. */
export const PROBLEMS = [
  'single_label_classification',
  'multi_label_classification',
  'regression',
] as const;
export type Problem = (typeof PROBLEMS)[number];

export interface LabelOptions {
  readonly problem_type: Problem | null;
  readonly labels: readonly string[] | null;
}

const REAL = /^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$/;

/** Returns a label as a number, also if it is text, as in tables. Null if it is not a number. */
export function realOf(label: unknown): number | null {
  if (typeof label === 'number') return label;
  return typeof label === 'string' && REAL.test(label) ? Number(label) : null;
}

/** Whether labels are scores and not names: all are numbers, and some have fractions. */
export function areMeasures(labels: Iterable<string>): boolean {
  let hasFraction = false;
  for (const label of labels) {
    const real = realOf(label);
    if (real === null) return false;
    hasFraction ||= !Number.isInteger(real);
  }
  return hasFraction;
}

/**
 * Survey of a file's labels. Lists of labels mean multi-label, numbers with fractions mean regression,
 * everything else means single label.
 */
export class LabelSurvey<O extends LabelOptions> implements Survey<O> {
  readonly #found = new Set<string>();
  #isList: boolean | null = null;
  /** First label that is a number with a fraction. */
  #fraction: Label | null = null;
  /** First label that is not a number. */
  #word: Label | null = null;

  constructor(
    private readonly given: O,
    private readonly takes: { readonly measures: boolean } = { measures: true },
  ) {}

  see({ label }: JsonObject): string | null {
    const isList = Array.isArray(label);
    const { problem_type: problem } = this.given;
    const wanted = problem === null ? this.#isList : problem === 'multi_label_classification';
    if (wanted !== null && wanted !== isList)
      return isList
        ? '"label" is a list, but earlier records or problem_type require a single label'
        : '"label" must be a list, as earlier records or problem_type require';
    this.#isList = isList;
    for (const one of (isList ? label : [label]) as readonly Label[]) {
      const wrong = this.#take(one);
      if (wrong !== null) return wrong;
    }
    return null;
  }

  options(): O {
    const { given } = this;
    this.#refuseMeasures();
    const problem = given.problem_type ?? this.#problem();
    if (problem === 'regression') return { ...given, problem_type: problem };
    const labels = given.labels ?? inOrder(this.#found);
    const least = problem === 'single_label_classification' ? 2 : 1;
    if (labels.length >= least) return { ...given, problem_type: problem, labels };
    const what =
      labels[0] === undefined
        ? 'no record has a label'
        : `every record has the label ${shown(labels[0])}`;
    throw new DomainError(
      'invalid_training_file',
      `${what}, so there is nothing to distinguish`,
      'training_file',
    );
  }

  #take(label: Label): string | null {
    const { problem_type: problem, labels } = this.given;
    const real = realOf(label);
    if (problem === 'regression')
      return real === null ? `"label" must be a number, got ${shown(label)}` : null;
    if (real === null) this.#word ??= label;
    else if (!Number.isInteger(real)) this.#fraction ??= label;
    if (labels !== null) return isAmong(label, labels) ? null : notAmong(label, labels);
    if (this.#found.size <= MOST_LABELS) this.#found.add(String(label));
    return null;
  }

  /** Whether labels are numbers, some with fractions, and the options do not list them as names. */
  get #areMeasures(): boolean {
    return this.#fraction !== null && this.#word === null && this.given.labels === null;
  }

  #refuseMeasures(): void {
    if (this.takes.measures || !this.#areMeasures) return;
    throw new DomainError(
      'invalid_training_file',
      `labels with fractions, such as ${shown(this.#fraction)}, are scores, which this task does not support; if they are class names, list them in graft.task_options.labels`,
      'training_file',
    );
  }

  #problem(): Problem {
    if (this.#isList) return 'multi_label_classification';
    if (this.#areMeasures) return 'regression';
    if (this.#found.size <= MOST_LABELS) return 'single_label_classification';
    throw new DomainError(
      'invalid_training_file',
      `there are more than ${MOST_LABELS} different labels${this.takes.measures ? '; if they are scores, set problem_type to "regression"' : ''}`,
      'training_file',
    );
  }
}
