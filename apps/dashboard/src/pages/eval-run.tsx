import type { EvalOutputItemObject, EvalRunObject } from '@graft/contracts';
import { useNavigate } from '@tanstack/react-router';
import { useEffect, useState } from 'react';
import { api } from '../api/api.js';
import { useConfirm } from '../ui/overlays/confirm.js';
import {
  Answer,
  isOpen,
  ItemFields,
  modelText,
  passShare,
  runName,
  RunPill,
  VerdictPill,
} from '../evals/eval-results.js';
import { evalCrumbs } from '../evals/eval-crumb.js';
import { Copy, Trash2 } from 'lucide-react';
import { Button } from '../ui/controls/button.js';
import { copyText } from '../ui/controls/copy-button.js';
import { ActionMenu, LINE, type Action } from '../ui/overlays/menu.js';
import { useToast } from '../ui/overlays/toasts.js';
import { Callout } from '../ui/feedback/callout.js';
import { Page, Section } from '../ui/page.js';
import { Stat, Stats } from '../ui/stat.js';
import { Failure } from '../ui/feedback/failure.js';
import { Loading } from '../ui/feedback/loading.js';
import { Row, Table } from '../ui/table.js';
import { Tabs } from '../ui/tabs.js';
import { ago, count, moment } from '../format.js';
import { useLoaded } from '../api/loaded.js';
import { useMay } from '../api/own-key.js';

const PAGE = 50;
const KINDS = ['all', 'fail', 'error', 'pass'] as const;
type Kind = (typeof KINDS)[number];

interface Props {
  readonly of: string;
  readonly id: string;
  /** Filter by result. */
  readonly status: string | null;
  readonly after: string | null;
}

/** One run: pass counts, results by grader, and all items. */
export function EvalRunPage({ of, id, status, after }: Props) {
  const everyMs = (run?: EvalRunObject) => (!run || isOpen(run) ? 2000 : 0);
  const found = useLoaded(['eval-run', of, id], () => api.evalRun(of, id), everyMs);
  const navigate = useNavigate();
  const [error, setError] = useState<Error | null>(null);
  const { value: run } = found;
  useEffect(() => {
    if (run) document.title = `${runName(run)} · Graft`;
  }, [run]);
  if (!run)
    return (
      <Page title={found.error ? 'Run not found' : 'Run'} crumbs={evalCrumbs(of)}>
        <Failure error={found.error} />
        <Loading error={found.error} />
      </Page>
    );
  const kind = KINDS.find((one) => one === status) ?? 'all';
  return (
    <Page
      title={runName(run)}
      crumbs={evalCrumbs(of)}
      width="full"
      status={<RunPill status={run.status} />}
      subtitle={
        <span title={moment(run.created_at)}>
          {modelText(run)} · started {ago(run.created_at)}
        </span>
      }
      actions={<RunActions run={run} reload={found.reload} onError={setError} />}
    >
      <Failure error={error ?? found.error} />
      <Counts run={run} />
      <ByGrader run={run} />
      <Section title="Items">
        <Tabs
          label="Which items"
          names={KINDS}
          open={kind}
          choose={(name) => void navigate(addressOf(run, name, null))}
          note={(name) => ` ${count(countOf(run, name))}`}
        >
          <Items key={`${kind} ${after}`} run={run} kind={kind} after={after} />
        </Tabs>
      </Section>
    </Page>
  );
}

interface RunActionsProps {
  readonly run: EvalRunObject;
  readonly reload: () => void;
  readonly onError: (error: Error) => void;
}

function RunActions({ run, reload, onError }: RunActionsProps) {
  const { eval_id: of, id } = run;
  const navigate = useNavigate();
  const may = useMay();
  const confirm = useConfirm();
  const toast = useToast();
  const remove = () => {
    const message = `Delete the run ${runName(run)} with its results? This cannot be undone.`;
    confirm(message, 'Delete', () =>
      api
        .deleteEvalRun(of, id)
        .then(() => navigate({ to: '/evals/$id', params: { id: of } }), onError),
    );
  };
  const more: (Action | typeof LINE)[] = [
    {
      label: 'Copy ID',
      icon: <Copy />,
      act: () => void copyText(id).then(() => toast(`Copied ${id}`)),
    },
  ];
  if (may('jobs:write'))
    more.push(LINE, { label: 'Delete…', icon: <Trash2 />, isDanger: true, act: remove });
  return (
    <>
      {may('jobs:write') && isOpen(run) && (
        <Button onClick={() => void api.cancelEvalRun(of, id).then(reload, onError)}>Cancel</Button>
      )}
      <ActionMenu label={`Actions for ${runName(run)}`} actions={more} />
    </>
  );
}

function Counts({ run }: { run: EvalRunObject }) {
  const { total, passed, failed, errored } = run.result_counts;
  const left = total - passed - failed - errored;
  return (
    <>
      <Stats label="Result">
        <Stat label="Passed" value={passShare(run)} note={`of ${count(total)} items`} />
        <Stat label="Pass" value={count(passed)} />
        <Stat label="Fail" value={count(failed)} />
        {errored > 0 && <Stat label="Not graded" value={count(errored)} tone="warn" />}
      </Stats>
      {run.error && <Callout tone="error">{run.error.message}</Callout>}
      <Deleted run={run} />
      {isOpen(run) && (
        <p>
          <progress value={total - left} max={Math.max(1, total)} aria-label="graded" />{' '}
          <span className="faint">
            {run.status === 'queued'
              ? 'Waiting: a project executes one run at a time.'
              : `${count(left)} items remaining`}
          </span>
        </p>
      )}
    </>
  );
}

function Deleted({ run }: { run: EvalRunObject }) {
  const samples = run.graft.samples_deleted_at;
  const items = run.graft.items_deleted_at;
  if (!samples) return null;
  const message = items
    ? `Items and answers were deleted with their file on ${moment(items)}.`
    : `Answers were deleted with the job of their model on ${moment(samples)}.`;
  return <p className="faint">{message} Scores and counts are kept.</p>;
}

function ByGrader({ run }: { run: EvalRunObject }) {
  return (
    <Section title="By grader">
      <Table
        columns={['Grader', 'Passed', 'Failed', 'Share']}
        numbers={['Passed', 'Failed', 'Share']}
      >
        {run.per_testing_criteria_results.map(({ testing_criteria: name, passed, failed }) => (
          <Row key={name}>
            <td className="break">{name}</td>
            <td className="numbers">{count(passed)}</td>
            <td className="numbers">{count(failed)}</td>
            <td className="numbers">
              {passed + failed === 0 ? '–' : `${Math.round((100 * passed) / (passed + failed))} %`}
            </td>
          </Row>
        ))}
      </Table>
    </Section>
  );
}

function countOf({ result_counts: counts }: EvalRunObject, kind: Kind): number {
  const { passed, failed, errored } = counts;
  return { all: passed + failed + errored, pass: passed, fail: failed, error: errored }[kind];
}

/** Returns the address of a page of items. */
const addressOf = ({ eval_id: of, id }: EvalRunObject, kind: Kind, after: string | null) =>
  ({
    to: '/evals/$id/$run',
    params: { id: of, run: id },
    search: { ...(kind !== 'all' && { status: kind }), ...(after !== null && { after }) },
  }) as const;

interface ItemsProps {
  readonly run: EvalRunObject;
  readonly kind: Kind;
  readonly after: string | null;
}

function Items({ run, kind, after }: ItemsProps) {
  const navigate = useNavigate();
  const page = useLoaded(['items', run.eval_id, run.id, kind, after], () => {
    const query = new URLSearchParams({ limit: String(PAGE) });
    if (kind !== 'all') query.set('status', kind);
    if (after !== null) query.set('after', after);
    return api.outputItems(run.eval_id, run.id, query);
  });
  const { reload } = page;
  const graded = countOf(run, kind);
  useEffect(reload, [graded, reload]);
  if (page.value === null)
    return (
      <>
        <Failure error={page.error} />
        <Loading error={page.error} />
      </>
    );
  const { data, has_more: more } = page.value;
  const last = data.at(-1);
  return (
    <>
      {data.length === 0 ? (
        <p className="faint">None.</p>
      ) : (
        <Table columns={['#', 'Result', 'Item', 'Answer']}>
          {data.map((item) => (
            <ItemRow key={item.id} item={item} />
          ))}
        </Table>
      )}
      {(after !== null || more) && (
        <nav className="bar pages" aria-label="Pages of items">
          <button
            disabled={after === null}
            onClick={() => void navigate(addressOf(run, kind, null))}
          >
            ← First
          </button>
          <button
            disabled={!more}
            onClick={() => last && void navigate(addressOf(run, kind, last.id))}
          >
            Next →
          </button>
        </nav>
      )}
    </>
  );
}

function ItemRow({ item }: { item: EvalOutputItemObject }) {
  return (
    <Row className="top">
      <td className="numbers">{item.datasource_item_id}</td>
      <td>
        <VerdictPill status={item.status} />
      </td>
      <td className="break">
        <ItemFields item={item.datasource_item} />
      </td>
      <td className="break">
        <Answer of={item} />
      </td>
    </Row>
  );
}
