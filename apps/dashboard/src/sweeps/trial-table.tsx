import type { SweepObject, TrialObject } from '@graft/contracts';
import { duration } from '@graft/contracts/duration';
import {
  forgettingText,
  rankedTrials,
  scoreText,
  trialOptionsText,
} from '@graft/contracts/sweep-text';
import { bytes } from '../format.js';
import { Link } from '../ui/link.js';
import { StatePill } from '../ui/state-pill.js';
import { Row, Table } from '../ui/table.js';

/** Trials of a sweep, best first. */
export function TrialTable({ sweep }: { sweep: SweepObject }) {
  const { metric } = sweep.search;
  const score = metric === 'eval_score' ? 'Eval score' : 'Validation loss';
  const columns = [
    'Trial',
    score,
    'State',
    'Options',
    'Steps',
    'Forgetting',
    'Training time',
    'Memory',
    'Size',
  ];
  return (
    <section aria-label="Trials">
      <h2>Trials</h2>
      <Table columns={columns}>
        {rankedTrials(sweep.trials ?? [], metric).map((trial) => (
          <Row key={trial.job}>
            <td>
              <Link to="/jobs/$id" params={{ id: trial.job }}>
                {trial.number}
              </Link>
              {trial.number === sweep.winner?.trial && <b> best</b>}
            </td>
            <td className="numbers">{scoreText(trial.score, metric)}</td>
            <td>
              <StatePill status={trial.status} />
              <Early trial={trial} />
            </td>
            <td className="break">
              {trialOptionsText(trial)}
              {trial.error && <p className="faint">{trial.error.message}</p>}
            </td>
            <td className="numbers">
              {trial.step}/{trial.total_steps ?? '?'}
            </td>
            <td className="numbers">{forgettingText(trial.forgetting)}</td>
            <td className="numbers">
              {trial.training_seconds > 0 ? duration(trial.training_seconds) : '–'}
            </td>
            <td className="numbers">
              {trial.memory_bytes === null ? '–' : bytes(trial.memory_bytes)}
            </td>
            <td className="numbers">
              {trial.model_bytes === null ? '–' : bytes(trial.model_bytes)}
            </td>
          </Row>
        ))}
      </Table>
    </section>
  );
}

function Early({ trial: { ended_at_step: rung } }: { trial: TrialObject }) {
  return rung === null ? null : <span className="faint"> stopped early at step {rung}</span>;
}
