import type { SweepObject } from '@graft/contracts';
import { duration } from '@graft/contracts/duration';
import { METRIC_NAMES, scoreText, trialLabel } from '@graft/contracts/sweep-text';
import { api } from '../api/api.js';
import { useLoaded } from '../api/loaded.js';
import { useMayRequest } from '../api/own-key.js';
import { bytes } from '../format.js';
import { ButtonLink } from '../ui/controls/button.js';
import { Stat, Stats } from '../ui/stat.js';
import { isOpen, TIE, tiedWith } from './race.js';

const capital = (text: string): string => `${text.charAt(0).toUpperCase()}${text.slice(1)}`;

/** The best finished trial: its result as large numbers, and what to do with it. */
export function WinnerCard({ sweep }: { sweep: SweepObject }) {
  const { winner, search, trials = [] } = sweep;
  const isAllowed = useMayRequest()('models:read');
  const model = winner?.model;
  const shown = useLoaded(['model', model, isAllowed], () =>
    model && isAllowed ? api.model(model) : Promise.resolve(null),
  );
  const trial = trials.find(({ number }) => number === winner?.trial);
  if (!winner || !trial) return null;
  const tied = tiedWith(sweep);
  const title = isOpen(sweep) ? 'Best finished so far' : 'Winner';
  const canTry = (shown.value?.graft?.uses.length ?? 0) > 0;
  return (
    <section className="card winner" aria-label={title}>
      <div className="section-head">
        <h2>
          {tied.length > 0 && !isOpen(sweep) ? 'A tie' : title}: {trialLabel(trial)}
        </h2>
        <span className="faint">trial {trial.number}</span>
        <span className="grow" />
        {canTry && (
          <ButtonLink variant="primary" to="/chat" search={{ model: winner.model }}>
            Try it
          </ButtonLink>
        )}
        <ButtonLink to="/jobs/$id" params={{ id: winner.job }}>
          Use it
        </ButtonLink>
      </div>
      <Stats label="Result of the best trial">
        <Stat
          label={capital(METRIC_NAMES[search.metric])}
          value={scoreText(winner.score, search.metric)}
          note={marginOf(sweep)}
        />
        {trial.best?.accuracy !== undefined && (
          <Stat label="Accuracy" value={`${Math.round(100 * trial.best.accuracy)} %`} />
        )}
        <Stat label="Training time" value={duration(trial.training_seconds)} />
        {trial.model_bytes !== null && <Stat label="Model size" value={bytes(trial.model_bytes)} />}
        {trial.memory_bytes !== null && (
          <Stat label="Memory of its own" value={bytes(trial.memory_bytes)} />
        )}
      </Stats>
      {tied.length > 0 && (
        <p role="note">
          Within {TIE} of it: {tied.map((one) => trialLabel(one)).join(' · ')}. The difference is
          too small to call one of them better; choose by size or time.
        </p>
      )}
    </section>
  );
}

/** Returns how far the next finished trial is behind: "0.042 ahead of IA3". */
function marginOf({ winner, trials = [], search }: SweepObject): string | undefined {
  const others = trials.filter(
    ({ number, status, score }) =>
      number !== winner?.trial && status === 'succeeded' && score !== null,
  );
  if (!winner || others.length === 0) return undefined;
  const gap = (score: number) => Math.abs(score - winner.score);
  const next = others.reduce((a, b) => (gap(b.score!) < gap(a.score!) ? b : a));
  const text = gap(next.score!).toFixed(3);
  return gap(next.score!) <= TIE
    ? `within ${TIE} of ${trialLabel(next)}`
    : `${text} ${search.metric === 'eval_score' ? 'ahead of' : 'below'} ${trialLabel(next)}`;
}
