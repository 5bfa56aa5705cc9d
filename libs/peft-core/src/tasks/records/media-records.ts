// What tasks share whose records hold a picture or a sound as a data URL, and a label or some.
import { DomainError } from '@graft/contracts';
import { z } from 'zod';
import { dataUrlProblem } from '../../data/data-url.js';
import type { JsonObject } from '../../data/json-line.js';
import type { LabelOptions } from '../labels/label-survey.js';
import { checkLabel } from '../labels/label-task.js';
import { isObject, missingFormat, unknownKey } from './record-checks.js';

type Kind = 'image' | 'audio';

const NOUNS: Readonly<Record<Kind, string>> = { image: 'image', audio: 'audio clip' };

/** `problem_type` of a task's options. */
export const problemType = (kind: Kind) =>
  z
    .enum(['single_label_classification', 'multi_label_classification'])
    .nullable()
    .default(null)
    .describe(
      `Label type: single label or multi-label for each ${NOUNS[kind]}. Detected from the training file by default: lists mean multi-label`,
    );

/** Arguments of a refinement: one label alone cannot be told from others. */
export const AT_LEAST_TWO: [
  (options: LabelOptions) => boolean,
  { message: string; path: string[] },
] = [
  ({ problem_type: problem, labels }) =>
    problem !== 'single_label_classification' || labels?.length !== 1,
  { message: 'expected at least 2 labels, got 1', path: ['labels'] },
];

/** Why a record cannot be learnt from, or null. */
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

/** Of a record that passed the check. */
export const labelOf = ({ label, labels }: JsonObject): unknown => label ?? labels;

/** One input of a request as a record. @throws DomainError that says what is wrong with it */
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
