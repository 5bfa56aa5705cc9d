import type {
  EvalItemResult,
  EvalObject,
  EvalOutputItemObject,
  EvalRunObject,
  EvalRunStatus,
} from '@graft/contracts';
import { answerOf, isUngraded, itemError } from '@graft/contracts/evals';
import {
  CircleCheck,
  CircleDashed,
  CircleSlash,
  CircleX,
  LoaderCircle,
  TriangleAlert,
} from 'lucide-react';
import { count } from '../format.js';

// Shape and word in addition to color, for users who cannot distinguish colors.
const LOOKS = {
  queued: { Icon: CircleDashed, word: 'queued', tone: 'wait' },
  in_progress: { Icon: LoaderCircle, word: 'running', tone: 'live' },
  completed: { Icon: CircleCheck, word: 'completed', tone: 'off' },
  canceled: { Icon: CircleSlash, word: 'cancelled', tone: 'off' },
  failed: { Icon: CircleX, word: 'failed', tone: 'bad' },
} as const satisfies Record<EvalRunStatus, object>;
const VERDICTS = {
  pass: { Icon: CircleCheck, tone: 'off' },
  fail: { Icon: CircleX, tone: 'bad' },
  error: { Icon: TriangleAlert, tone: 'wait' },
} as const;

export function RunPill({ status }: { status: EvalRunStatus }) {
  const { Icon, word, tone } = LOOKS[status];
  return (
    <span className={`pill ${tone}`}>
      <Icon aria-hidden="true" className={tone === 'live' ? 'ring' : ''} /> {word}
    </span>
  );
}

export function VerdictPill({ status }: { status: EvalOutputItemObject['status'] }) {
  const { Icon, tone } = VERDICTS[status];
  return (
    <span className={`state-dot ${tone}`}>
      <Icon aria-hidden="true" /> {status}
    </span>
  );
}

export const isOpen = ({ status }: Pick<EvalRunObject, 'status'>): boolean =>
  status === 'queued' || status === 'in_progress';

/** Returns the display name of a run: its name, its model or its id. */
export const runName = ({ name, model, id }: EvalRunObject): string => name || model || id;

export const modelText = ({ model }: Pick<EvalRunObject, 'model'>): string =>
  model || 'answers of a file';

/** Returns the pass rate of graded items, such as `85 %`. A dash if none is graded. */
export function passShare({ result_counts: counts }: Pick<EvalRunObject, 'result_counts'>): string {
  const graded = counts.passed + counts.failed + counts.errored;
  return graded === 0 ? '–' : `${Math.round((100 * counts.passed) / graded)} %`;
}

/** Returns `17 of 20`, with the number of items that remain to be graded. */
export function passedText({
  result_counts: counts,
}: Pick<EvalRunObject, 'result_counts'>): string {
  const graded = counts.passed + counts.failed + counts.errored;
  const remaining = counts.total - graded;
  return `${count(counts.passed)} of ${count(graded)}${remaining > 0 ? `, ${count(remaining)} to go` : ''}`;
}

/** Describes how a criterion grades, in a few words. */
export function criterionText(criterion: EvalObject['testing_criteria'][number]): string {
  const text = (field: string): string => String(criterion[field] ?? '');
  switch (criterion.type) {
    case 'string_check':
      return `${text('input')} ${OPERATIONS[text('operation')] ?? text('operation')} ${text('reference')}`;
    case 'text_similarity':
      return `${text('evaluation_metric')} of ${text('input')} and ${text('reference')}, at least ${text('pass_threshold')}`;
    case 'label_model':
      return `${text('model')} answers with ${(criterion['passing_labels'] as readonly string[]).join(' or ')}`;
    case 'score_model':
      return `a score from ${text('model')}`;
    default:
      return criterion.type;
  }
}

const OPERATIONS: Readonly<Record<string, string>> = {
  eq: 'is',
  ne: 'is not',
  like: 'contains',
  ilike: 'contains, ignoring case,',
};

/** The fields of an item with their names. */
export function ItemFields({ item }: { item: Readonly<Record<string, unknown>> }) {
  return (
    <dl className="item-fields">
      {Object.entries(item).map(([name, value]) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd className="pre">{typeof value === 'string' ? value : JSON.stringify(value)}</dd>
        </div>
      ))}
    </dl>
  );
}

/** An answer with the result of each grader. */
export function Answer({ of }: { of: EvalOutputItemObject }) {
  const error = itemError(of);
  const answer = answerOf(of);
  return (
    <>
      {answer !== null && <div className="pre">{answer || '(nothing)'}</div>}
      {error !== null && <div className="bad pre">{error}</div>}
      {of.results.length > 0 && (
        <ul className="marks" aria-label="Graders">
          {of.results.map((one) => (
            <Mark key={one.name} result={one} />
          ))}
        </ul>
      )}
    </>
  );
}

function Mark({ result }: { result: EvalItemResult }) {
  const { name, passed, score } = result;
  const isError = isUngraded(result);
  const word = isError ? 'error' : passed ? 'passes' : 'fails';
  return (
    <li className={passed ? 'passes' : 'bad'}>
      <span aria-hidden="true">{isError ? '⚠' : passed ? '✓' : '✕'}</span>
      <span className="unseen">{word}</span> {name}{' '}
      {!isError && <span className="numbers">{Number(score.toFixed(3))}</span>}
    </li>
  );
}
