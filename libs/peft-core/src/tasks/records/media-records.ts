// Records with an image or an audio clip as a data URL and one or more labels.
import { DomainError } from '@graft/contracts';
import { z } from 'zod';
import { dataUrlProblem } from '../../data/data-url.js';
import type { JsonObject } from '../../data/json-line.js';
import type { LabelOptions } from '../labels/label-survey.js';
import { checkLabel } from '../labels/label-task.js';
import { isObject, missingFormat, unknownKey } from './record-checks.js';

type Kind = 'image' | 'audio';

const NOUNS: Readonly<Record<Kind, string>> = { image: 'image', audio: 'audio clip' };

/** Option `problem_type` of a task. */
export const problemType = (kind: Kind) =>
  z
    .enum(['single_label_classification', 'multi_label_classification'])
    .nullable()
    .default(null)
    .describe(
      `Label type: single label or multi-label for each ${NOUNS[kind]}. Detected from the training file by default: lists mean multi-label`,
    );

/**
 * Arguments of a Zod refinement that rejects a single label, which cannot be distinguished from others.
 */
export const AT_LEAST_TWO: [
  (options: LabelOptions) => boolean,
  { message: string; path: string[] },
] = [
  ({ problem_type: problem, labels }) =>
    problem !== 'single_label_classification' || labels?.length !== 1,
  { message: 'expected at least 2 labels, got 1', path: ['labels'] },
];

/** Returns why a record cannot be used for training, or null. */
export function checkLabelled(record: JsonObject, kind: Kind, formats: string): string | null {
  const { [kind]: media, label, labels } = record;
  if (media === undefined || (label === undefined && labels === undefined))
    return missingFormat(record, formats);
  if (label !== undefined && labels !== undefined)
    return 'the record has both "label" and "labels"; remove one of them';
  if (labels !== undefined && !Array.isArray(labels)) return '"labels" must be a list';
  return (
    unknownKey(record, [kind, 'label', 'labels']) ??
    dataUrlProblem(kind, media, kind) ??
    checkLabel(label ?? labels)
  );
}

/** Returns the label or labels of a valid record. */
export const labelOf = ({ label, labels }: JsonObject): unknown => label ?? labels;

/** Returns one input of a request as a record. @throws DomainError that describes the problem */
export function mediaInput(input: unknown, kind: Kind): JsonObject {
  const record = typeof input === 'string' ? { [kind]: input } : input;
  if (!isObject(record))
    throw new DomainError(
      'invalid_value',
      `expected an ${NOUNS[kind]} as a data URL, or {"${kind}"}`,
    );
  const wrong = unknownKey(record, [kind]) ?? dataUrlProblem(kind, record[kind], kind);
  if (wrong !== null) throw new DomainError('invalid_value', wrong);
  return record;
}
