import type { EvalObject, EvalOutputItemObject, EvalRunObject } from '@graft/contracts';
import { answerOf, itemError } from '@graft/contracts/evals';
import { compareRuns } from '@graft/contracts/compare-runs';
import { faint, strong } from './style.js';
import { ago, printable, table, type Output } from './terminal.js';

/** An eval with its runs, newest first. */
export function evalCard(
  one: EvalObject,
  runs: readonly EvalRunObject[],
  out: Pick<Output, 'id' | 'width'>,
): string {
  const lines = [
    strong(`${one.id}  ${printable(one.name)}`.trimEnd()),
    ...one.testing_criteria.map(
      ({ name, type, model }) =>
        `  ${printable(name)}: ${type}${typeof model === 'string' ? ` by ${printable(model)}` : ''}`,
    ),
  ];
  if (runs.length === 0) return [...lines, '', 'no runs yet'].join('\n');
  const rows = runs.map((run) => [
    out.id(run.id),
    printable(run.name || '–'),
    printable(run.model || 'none (answers from file)'),
    run.status,
    passed(run),
    ago(run.created_at),
  ]);
  const header = ['RUN', 'NAME', 'MODEL', 'STATUS', 'PASSED', 'AGE'];
  return [...lines, '', table(header, rows, { width: out.width })].join('\n');
}

/** Passed and graded items, as in `17 of 20 (85 %)`. */
export function passed({ result_counts: counts }: EvalRunObject): string {
  const graded = counts.passed + counts.failed + counts.errored;
  const share = graded === 0 ? '' : ` (${Math.round((100 * counts.passed) / graded)} %)`;
  const remaining = graded < counts.total ? `, ${counts.total - graded} remaining` : '';
  return `${counts.passed} of ${graded}${share}${remaining}`;
}

/** Results of a run by grader, followed by its items. */
export function runCard(
  run: EvalRunObject,
  items: readonly EvalOutputItemObject[],
  width: number,
): string {
  const { result_counts: counts } = run;
  const head = [
    strong(`${run.id}  ${printable(run.name)}`.trimEnd()),
    `  model    ${printable(run.model || 'none (answers from file)')}`,
    `  status   ${run.status}`,
    `  passed   ${passed(run)}${counts.errored > 0 ? `, ${counts.errored} could not be graded` : ''}`,
    ...(run.graft.samples_deleted_at
      ? [`  deleted  ${run.graft.items_deleted_at ? 'items and answers' : 'answers'}`]
      : []),
    ...run.per_testing_criteria_results.map(
      (one) => `  ${printable(one.testing_criteria)}: ${one.passed} passed, ${one.failed} failed`,
    ),
  ];
  if (items.length === 0) return head.join('\n');
  return [...head, '', itemTable(items, width)].join('\n');
}

function itemTable(items: readonly EvalOutputItemObject[], width: number): string {
  const graders = items[0]?.results.map(({ name }) => name) ?? [];
  const rows = items.map((one) => [
    String(one.datasource_item_id),
    one.status,
    ...graders.map((name) => scoreText(one, name)),
    short(one.datasource_item),
    printable(oneLine(itemError(one) ?? answerOf(one) ?? '')),
  ]);
  const header = ['#', 'STATUS', ...graders.map((name) => printable(name)), 'ITEM', 'ANSWER'];
  return table(header, rows, { width: Number.isFinite(width) ? width : 160 });
}

function scoreText({ results }: EvalOutputItemObject, name: string): string {
  const result = results.find((one) => one.name === name);
  return result === undefined
    ? '–'
    : `${result.passed ? '✓' : '✕'} ${Number(result.score.toFixed(3))}`;
}

/** Comparison of two runs of one eval: the totals, followed by the items that differ. */
export function comparison(
  [left, right]: readonly [EvalRunObject, EvalRunObject],
  [ofLeft, ofRight]: readonly [readonly EvalOutputItemObject[], readonly EvalOutputItemObject[]],
  width: number,
): string {
  const { items, both, leftOnlyPasses, rightOnlyPasses } = compareRuns(ofLeft, ofRight);
  const nameOf = (run: EvalRunObject): string => printable(run.name || run.model || run.id);
  const criteria = left.per_testing_criteria_results.map((one, n) => {
    const other = right.per_testing_criteria_results[n];
    return [printable(one.testing_criteria), `${one.passed}`, `${other?.passed ?? 0}`];
  });
  const totals = table(
    ['', nameOf(left), nameOf(right)],
    [['passed', passed(left), passed(right)], ...criteria],
    { width },
  );
  const summary = `${both} items in both runs: ${leftOnlyPasses} pass only on the left, ${rightOnlyPasses} only on the right`;
  const differing = items.filter(
    (one) => one.left && one.right && one.left.status !== one.right.status,
  );
  if (differing.length === 0) return [totals, '', summary].join('\n');
  const rows = differing.map((one) => [
    short(one.item),
    `${one.left!.status}: ${printable(oneLine(answerOf(one.left!) ?? ''))}`,
    `${one.right!.status}: ${printable(oneLine(answerOf(one.right!) ?? ''))}`,
  ]);
  const whole = Number.isFinite(width) ? width : 160;
  return [
    totals,
    '',
    faint(summary),
    '',
    table(['ITEM', nameOf(left), nameOf(right)], rows, { width: whole }),
  ].join('\n');
}

const oneLine = (text: string): string => text.replaceAll(/\s+/g, ' ').trim();
const short = (item: Readonly<Record<string, unknown>>): string =>
  printable(
    oneLine(
      Object.values(item)
        .map((value) => (typeof value === 'string' ? value : JSON.stringify(value)))
        .join(' · '),
    ),
  );
