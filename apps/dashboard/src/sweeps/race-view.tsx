import type { SweepObject } from '@graft/contracts';
import { METRIC_NAMES, trialLabel } from '@graft/contracts/sweep-text';
import { lazy, Suspense, useMemo, useState } from 'react';
import { api } from '../api/api.js';
import { useLoaded } from '../api/loaded.js';
import { useMayRequest } from '../api/own-key.js';
import { Segmented } from '../ui/controls/segmented.js';
import { Section } from '../ui/page.js';
import { Skeleton } from '../ui/feedback/skeleton.js';
import { MemoryGauge } from './memory-gauge.js';
import {
  isOpen,
  leaderOf,
  lossesOf,
  raceCurves,
  sharedMemory,
  trackLength,
  type RaceMetric,
} from './race.js';
import type { Standing } from './standing.js';
import { TrialLanes } from './trial-lanes.js';
import { useRace, type Race } from './use-race.js';

const RaceChart = lazy(async () => ({
  default: (await import('./race-chart.js')).RaceChart,
}));

const METRICS: readonly (readonly [RaceMetric, string])[] = [
  ['validation', 'Validation loss'],
  ['training', 'Training loss'],
];

/** The trials of a sweep as a race: their curves on one track, their lanes, and the memory they share. */
export function RaceView({ sweep, standing }: { sweep: SweepObject; standing: Standing | null }) {
  const race = useRace(sweep);
  const [focused, setFocused] = useState<number | null>(null);
  const { trials = [], search, winner } = sweep;
  const ahead = leaderOf(trials, search.metric)?.number ?? null;
  // A running trial may be ahead of the best finished one.
  const leader = isOpen(sweep) ? ahead : (winner?.trial ?? ahead);
  return (
    <>
      <Curves sweep={sweep} race={race} leader={leader} focused={focused} />
      <TrialLanes
        sweep={sweep}
        jobs={race.jobs}
        leader={leader}
        tied={(standing?.tied ?? []).map(({ number }) => number)}
        focus={setFocused}
      />
    </>
  );
}

interface CurvesProps {
  readonly sweep: SweepObject;
  readonly race: Race;
  readonly leader: number | null;
  readonly focused: number | null;
}

function Curves({ sweep, race, leader, focused }: CurvesProps) {
  const [chosen, setChosen] = useState<RaceMetric | null>(null);
  const trials = useMemo(() => sweep.trials ?? [], [sweep.trials]);
  const metrics = useMemo(
    () => trials.map(({ job }) => race.curves.get(job)?.metrics ?? null),
    [trials, race.curves],
  );
  // Evaluations are compared by the sweep, but need two points for a curve.
  const isEvaluated = metrics.some((one) => (one?.evaluations.length ?? 0) > 1);
  const metric = chosen ?? (isEvaluated ? 'validation' : 'training');
  const curves = useMemo(
    () => raceCurves(metrics.map((one) => (one ? lossesOf(one, metric) : new Map()))),
    [metrics, metric],
  );
  const racers = trials.map((trial) => ({
    number: trial.number,
    label: `${trial.number} · ${trialLabel(trial)}`,
    stoppedAt: trial.ended_at_step,
  }));
  return (
    <Section
      title="Race"
      className="race"
      actions={<Segmented label="Curves" value={metric} choices={METRICS} change={setChosen} />}
    >
      <SharedBase sweep={sweep} race={race} />
      <Suspense fallback={<Skeleton height={378} />}>
        <RaceChart
          key={metric}
          title={metric === 'training' ? 'Training loss' : 'Validation loss'}
          racers={racers}
          curves={curves}
          isSmooth={metric === 'training'}
          length={trackLength(trials)}
          rungs={sweep.search.rungs}
          factor={sweep.search.reduction_factor}
          leader={leader}
          focused={focused}
        />
      </Suspense>
      <p className="faint">
        Trials are ranked by {METRIC_NAMES[sweep.search.metric]}.
        {sweep.search.rungs.length > 0 && ' ✕ marks where a trial was stopped at a rung.'}
      </p>
    </Section>
  );
}

/** Gauge of the memory of running trials. Their base counts with the size of its files. */
function SharedBase({ sweep, race }: { sweep: SweepObject; race: Race }) {
  const may = useMayRequest()('models:read');
  const base = useLoaded(['model', sweep.model, may], () =>
    may ? api.model(sweep.model) : Promise.resolve(null),
  );
  const bytes = base.value?.graft?.bytes;
  if (!bytes) return null;
  const process = (job: string) => race.jobs.get(job)?.graft.process ?? null;
  const memory = sharedMemory(sweep.trials ?? [], bytes, ({ job }) => process(job));
  return memory && <MemoryGauge memory={memory} />;
}
