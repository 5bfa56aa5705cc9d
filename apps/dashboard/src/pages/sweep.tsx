import type { SweepObject } from '@graft/contracts';
import { MAX_COMPARED } from '@graft/contracts/compared-jobs';
import { METRIC_NAMES, rankedTrials, trialCountsText } from '@graft/contracts/sweep-text';
import { GitCompare, Hash, Rows3 } from 'lucide-react';
import { useEffect, useState } from 'react';
import { api } from '../api/api.js';
import { useLoaded } from '../api/loaded.js';
import { useMay } from '../api/own-key.js';
import { ago, moment } from '../format.js';
import { LatestAnswers } from '../sweeps/latest-answers.js';
import { isOpen } from '../sweeps/race.js';
import { RaceView } from '../sweeps/race-view.js';
import { useStanding } from '../sweeps/use-standing.js';
import { Tradeoff } from '../sweeps/tradeoff.js';
import { POLL_MS } from '../sweeps/use-race.js';
import { WinnerCard } from '../sweeps/winner-card.js';
import { Button, ButtonLink } from '../ui/controls/button.js';
import { Failure } from '../ui/feedback/failure.js';
import { Link } from '../ui/link.js';
import { useConfirm } from '../ui/overlays/confirm.js';
import { ActionMenu } from '../ui/overlays/menu.js';
import { Page } from '../ui/page.js';
import { Skeleton } from '../ui/feedback/skeleton.js';
import { StatePill } from '../ui/state-pill.js';
import { Warnings } from '../ui/feedback/warnings.js';

const CRUMBS = [
  <Link key="sweeps" to="/sweeps">
    Sweeps
  </Link>,
];

/** One sweep: the race of its trials while it runs, and its winner. */
export function SweepPage({ id }: { id: string }) {
  const [error, setError] = useState<Error | null>(null);
  const found = useLoaded(
    ['sweep', id],
    () => api.sweep(id),
    (sweep) => (sweep && !isOpen(sweep) ? 0 : POLL_MS),
  );
  const { value: sweep } = found;
  useEffect(() => {
    if (sweep) document.title = `${sweep.name} · Graft`;
  }, [sweep]);
  if (!sweep)
    return (
      <Page title="Sweep" crumbs={CRUMBS} width="full">
        <Failure error={found.error} />
        {!found.error && <Skeleton height={378} />}
      </Page>
    );
  return (
    <Page
      title={sweep.name}
      crumbs={CRUMBS}
      status={<StatePill status={sweep.status} />}
      subtitle={
        <>
          {trialCountsText(sweep)} · {searchText(sweep)} · {sweep.model} ·{' '}
          <span title={moment(sweep.created_at)}>{ago(sweep.created_at)}</span>
        </>
      }
      actions={<Actions sweep={sweep} reload={found.reload} failed={setError} />}
      width="full"
    >
      <Failure error={error ?? found.error} />
      <Warnings warnings={sweep.warnings ?? []} />
      <Result sweep={sweep} />
      <LatestAnswers sweep={sweep} />
      <Tradeoff sweep={sweep} />
    </Page>
  );
}

/** The winner and the race, which mark the same trials as tied. */
function Result({ sweep }: { sweep: SweepObject }) {
  const standing = useStanding(sweep);
  return (
    <>
      <WinnerCard sweep={sweep} standing={standing} />
      <RaceView sweep={sweep} standing={standing} />
    </>
  );
}

/** Returns "ASHA by validation loss". */
function searchText({ search: { algorithm, metric } }: SweepObject): string {
  const name = { asha: 'ASHA', grid: 'grid', random: 'random search' }[algorithm];
  return `${name} by ${METRIC_NAMES[metric]}`;
}

interface ActionsProps {
  readonly sweep: SweepObject;
  readonly reload: () => void;
  readonly failed: (error: Error) => void;
}

function Actions({ sweep, reload, failed }: ActionsProps) {
  const may = useMay();
  const confirm = useConfirm();
  const cancel = () => {
    confirm(
      'Cancel all unfinished trials? Models of finished trials are kept.',
      'Cancel trials',
      () => api.cancelSweep(sweep.id).then(reload, failed),
    );
  };
  return (
    <>
      <Compare sweep={sweep} />
      {may('jobs:write') && isOpen(sweep) && <Button onClick={cancel}>Cancel</Button>}
      <ActionMenu
        label={`Actions for ${sweep.name}`}
        actions={[
          {
            label: 'Show in the list of jobs',
            icon: <Rows3 />,
            act: <Link to="/" search={{ q: sweep.id }} />,
          },
          {
            label: 'Copy ID',
            icon: <Hash />,
            act: () => navigator.clipboard.writeText(sweep.id),
          },
        ]}
      />
    </>
  );
}

/** Link that compares the best trials. */
function Compare({ sweep }: { sweep: SweepObject }) {
  const started = (sweep.trials ?? []).filter(({ step }) => step > 0);
  if (started.length < 2) return null;
  const best = rankedTrials(started, sweep.search.metric).slice(0, MAX_COMPARED);
  return (
    <ButtonLink
      icon={<GitCompare />}
      to="/compare"
      search={{ jobs: best.map(({ job }) => job).join() }}
    >
      Compare {best.length === started.length ? 'trials' : `the best ${best.length}`}
    </ButtonLink>
  );
}
