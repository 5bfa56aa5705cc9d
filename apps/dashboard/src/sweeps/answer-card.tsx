import type { SweepObject } from '@graft/contracts';
import { trialLabel } from '@graft/contracts/sweep-text';
import { api } from '../api/api.js';
import { useLoaded } from '../api/loaded.js';
import { ButtonLink } from '../ui/controls/button.js';
import { methodAnswer } from './method-answer.js';

/**
 * The answer of a finished sweep over methods: which method fits the data, and a smaller one that is
 * as good. Renders nothing for other sweeps.
 */
export function MethodAnswer({ sweep }: { sweep: SweepObject }) {
  const isOver = sweep.status !== 'queued' && sweep.status !== 'running';
  const isAsked = isOver && sweep.search.preset === 'methods';
  const winner = sweep.winner?.job ?? null;
  // The number of held-out examples decides what is noise.
  const job = useLoaded(['job-of-answer', isAsked ? winner : null], () =>
    isAsked && winner !== null ? api.job(winner) : Promise.resolve(null),
  );
  const answer = isAsked
    ? methodAnswer(sweep, job.value?.graft.data?.validation_examples ?? null)
    : null;
  if (!answer) return null;
  const { smaller, sentence } = answer;
  return (
    <section className="card" aria-label="Which method">
      <p className="method-sentence">{sentence}</p>
      {smaller && (
        <div className="bar">
          <ButtonLink to="/jobs/$id" params={{ id: smaller.job }}>
            Use {trialLabel(smaller)}
          </ButtonLink>
        </div>
      )}
    </section>
  );
}
