import type { ProblemObject } from '@graft/contracts';
import { CircleAlert, CircleCheck, Info, TriangleAlert } from 'lucide-react';
import { ago, moment } from '../format.js';
import { ProblemAct } from '../operate/problem-act.js';
import { useProblems } from '../operate/use-problems.js';
import { ButtonLink } from '../ui/controls/button.js';
import { EmptyState } from '../ui/feedback/empty-state.js';
import { Failure } from '../ui/feedback/failure.js';
import { Page } from '../ui/page.js';
import { Skeleton } from '../ui/feedback/skeleton.js';

const LOOKS = {
  error: { Icon: CircleAlert, word: 'Error' },
  warning: { Icon: TriangleAlert, word: 'Warning' },
  info: { Icon: Info, word: 'Note' },
} as const;

/** Everything that is wrong now, most severe first, each with what to do about it. */
export function ProblemsPage() {
  const problems = useProblems(5000);
  const list = problems.value;
  return (
    <Page title="Problems" subtitle={list !== null && list.length > 0 && summary(list)}>
      <Failure error={problems.error} />
      {list === null && !problems.error && <Skeleton height={68} rows={4} />}
      {list?.length === 0 && (
        <EmptyState
          icon={<CircleCheck />}
          title="No problems"
          text="Workers, queues, limits, webhooks and imports are fine. Problems appear here as soon as Graft notices them."
          actions={<ButtonLink to="/cluster">Show cluster</ButtonLink>}
        />
      )}
      {list !== null && list.length > 0 && (
        <ul className="problems" aria-label="Problems">
          {list.map((problem) => (
            <Problem
              key={`${problem.code} ${problem.subject.id}`}
              problem={problem}
              changed={problems.reload}
            />
          ))}
        </ul>
      )}
    </Page>
  );
}

/** Returns "2 errors, 1 warning". */
function summary(list: readonly ProblemObject[]): string {
  const parts = (['error', 'warning', 'info'] as const).flatMap((severity) => {
    const n = list.filter((one) => one.severity === severity).length;
    const word = LOOKS[severity].word.toLowerCase();
    return n === 0 ? [] : [`${n} ${word}${n === 1 ? '' : 's'}`];
  });
  return parts.join(', ');
}

function Problem({ problem, changed }: { problem: ProblemObject; changed: () => void }) {
  const { Icon, word } = LOOKS[problem.severity];
  return (
    <li className={`problem ${problem.severity}`}>
      <Icon role="img" aria-label={word} />
      <div className="problem-text">
        <b>{problem.title}</b>
        <p>
          {problem.action}{' '}
          {problem.since !== null && (
            <time
              className="faint"
              dateTime={new Date(problem.since * 1000).toISOString()}
              title={moment(problem.since)}
            >
              {ago(problem.since)}
            </time>
          )}
        </p>
      </div>
      <div className="problem-act">
        <ProblemAct problem={problem} changed={changed} />
      </div>
    </li>
  );
}
