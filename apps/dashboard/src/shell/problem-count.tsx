import { useProblems } from '../operate/use-problems.js';

/** Number of problems next to the link to their page. Nothing while all is well; notes do not count. */
export function ProblemCount() {
  const problems = useProblems(20_000);
  const count = (problems.value ?? []).filter(({ severity }) => severity !== 'info').length;
  if (count === 0) return null;
  return (
    <span className="nav-count">
      <span className="unseen">, </span>
      {count}
      <span className="unseen">{count === 1 ? ' problem' : ' problems'}</span>
    </span>
  );
}
