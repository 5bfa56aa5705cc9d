import type { SweepObject } from '@graft/contracts';
import { duration } from '@graft/contracts/duration';
import { METRIC_NAMES, scoreText, trialLabel } from '@graft/contracts/sweep-text';
import { api } from '../api/api.js';
import { useLoaded } from '../api/loaded.js';
import { useMayRequest } from '../api/own-key.js';
import { bytes } from '../format.js';
import { ButtonLink } from '../ui/controls/button.js';
import { Stat, Stats } from '../ui/stat.js';
import { isOpen } from './race.js';
import type { Standing } from './standing.js';

const capital = (text: string): string => `${text.charAt(0).toUpperCase()}${text.slice(1)}`;

interface Props {
  readonly sweep: SweepObject;
  readonly standing: Standing | null;
}

/** The best finished trial: how it compares, its result as large numbers, and what to do with it. */
export function WinnerCard({ sweep, standing }: Props) {
  const { winner, search, trials = [] } = sweep;
  const isAllowed = useMayRequest()('models:read');
  const model = winner?.model;
  const shown = useLoaded(['model', model, isAllowed], () =>
    model && isAllowed ? api.model(model) : Promise.resolve(null),
  );
  const trial = trials.find(({ number }) => number === winner?.trial);
  if (!winner || !trial || !standing) return null;
  const { sentence, tied, smaller } = standing;
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
        {smaller && !isOpen(sweep) && (
          <ButtonLink to="/jobs/$id" params={{ id: smaller.job }}>
            Use {trialLabel(smaller)}
          </ButtonLink>
        )}
      </div>
      <p className="standing">{sentence}</p>
      <Stats label="Result of the best trial">
        <Stat
          label={capital(METRIC_NAMES[search.metric])}
          value={scoreText(winner.score, search.metric)}
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
    </section>
  );
}
