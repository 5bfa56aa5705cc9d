import type { JobObject, SweepObject, TrialObject } from '@graft/contracts';
import { duration } from '@graft/contracts/duration';
import {
  forgettingText,
  METRIC_NAMES,
  rankedTrials,
  scoreText,
  trialLabel,
} from '@graft/contracts/sweep-text';
import { bytes } from '../format.js';
import { Link } from '../ui/link.js';
import { StateDot } from '../ui/state-pill.js';
import { Row, Table } from '../ui/table.js';
import { trackLength, trialColor } from './race.js';

interface Props {
  readonly sweep: SweepObject;
  /** Running jobs by ID, for their remaining time. */
  readonly jobs: ReadonlyMap<string, JobObject>;
  readonly leader: number | null;
  readonly tied: readonly number[];
  /** Called with the trial that the pointer or the focus is on, or null. */
  readonly focus: (number: number | null) => void;
}

const COLUMNS = ['Trial', 'Result', 'State', 'Lane', 'Step', 'Time left', 'Took', 'Memory', 'Size', 'Forgetting'] as const; // prettier-ignore
const NUMBERS = ['Result', 'Step', 'Time left', 'Took', 'Memory', 'Size', 'Forgetting'];

/** Columns without any value are hidden. */
function shownColumns({ trials = [], status }: SweepObject): readonly string[] {
  const isOver = status !== 'queued' && status !== 'running';
  return COLUMNS.filter((name) => {
    if (name === 'Time left') return !isOver;
    if (name === 'Lane') return !isOver;
    if (name === 'Forgetting') return trials.some(({ forgetting }) => forgetting !== null);
    if (name === 'Memory') return trials.some(({ memory_bytes: size }) => size !== null);
    if (name === 'Size') return trials.some(({ model_bytes: size }) => size !== null);
    return true;
  });
}

/** Trials of a sweep, best first, each with its lane on the track. */
export function TrialLanes({ sweep, jobs, leader, tied, focus }: Props) {
  const trials = sweep.trials ?? [];
  const columns = shownColumns(sweep);
  const length = trackLength(trials);
  return (
    <section aria-label="Trials" className="section">
      <h2>Trials</h2>
      <Table columns={columns} numbers={NUMBERS}>
        {rankedTrials(trials, sweep.search.metric).map((trial) => (
          <Row
            key={trial.job}
            className={trial.ended_at_step === null ? undefined : 'stopped'}
            onMouseEnter={() => focus(trial.number)}
            onMouseLeave={() => focus(null)}
          >
            {columns.map((name) => (
              <td
                key={name}
                title={name === 'Result' ? METRIC_NAMES[sweep.search.metric] : undefined}
              >
                {name === 'Trial' && (
                  <Name trial={trial} leader={leader} isTied={tied.includes(trial.number)} />
                )}
                {name === 'State' && <State trial={trial} />}
                {name === 'Lane' && (
                  <Lane trial={trial} length={length} rungs={sweep.search.rungs} />
                )}
                {textOf(name, trial, jobs.get(trial.job), sweep)}
              </td>
            ))}
          </Row>
        ))}
      </Table>
    </section>
  );
}

/** Returns the text of a column of numbers; null for other columns. */
function textOf(
  column: string,
  trial: TrialObject,
  job: JobObject | undefined,
  { search }: SweepObject,
): string | null {
  const eta = job?.graft.progress.eta_seconds;
  switch (column) {
    case 'Result':
      return scoreText(trial.score, search.metric);
    case 'Step':
      return `${trial.step}/${trial.total_steps ?? '?'}`;
    case 'Time left':
      return trial.status === 'running' && typeof eta === 'number' ? duration(eta) : '–';
    case 'Took':
      return trial.training_seconds >= 1 ? duration(trial.training_seconds) : '–';
    case 'Memory':
      return trial.memory_bytes === null ? '–' : bytes(trial.memory_bytes);
    case 'Size':
      return trial.model_bytes === null ? '–' : bytes(trial.model_bytes);
    case 'Forgetting':
      return forgettingText(trial.forgetting);
    default:
      return null;
  }
}

interface NameProps {
  readonly trial: TrialObject;
  readonly leader: number | null;
  /** Whether its score is not distinguishable from the winner's. */
  readonly isTied: boolean;
}

/** Number of a trial and how it differs from the others. */
function Name({ trial, leader, isTied }: NameProps) {
  return (
    <span className="trial-name">
      <span
        className="swatch"
        style={{ background: `var(${trialColor(trial.number)})` }}
        aria-hidden="true"
      />
      <Link to="/jobs/$id" params={{ id: trial.job }}>
        {trial.number} · {trialLabel(trial)}
      </Link>
      {trial.number === leader && <b className="best-mark">best</b>}
      {isTied && <b className="best-mark">tied</b>}
    </span>
  );
}

function State({ trial }: { trial: TrialObject }) {
  if (trial.ended_at_step !== null)
    return <span className="faint">stopped at step {trial.ended_at_step}</span>;
  return (
    <span title={trial.error?.message}>
      <StateDot status={trial.status} />
      {trial.error && <span className="faint"> {trial.error.message.split('; ')[0]}</span>}
    </span>
  );
}

interface LaneProps {
  readonly trial: TrialObject;
  readonly length: number;
  readonly rungs: readonly number[];
}

/** Lane of a trial: how far it is, with the rungs as gates. */
function Lane({ trial, length, rungs }: LaneProps) {
  return (
    <span
      className="trial-lane"
      role="img"
      aria-label={`step ${trial.step} of ${trial.total_steps ?? length}`}
    >
      <span
        className="trial-done"
        style={{
          width: `${(100 * Math.min(trial.step, length)) / length}%`,
          background: `var(${trialColor(trial.number)})`,
        }}
      />
      {rungs
        .filter((rung) => rung < length)
        .map((rung) => (
          <span key={rung} className="trial-gate" style={{ left: `${(100 * rung) / length}%` }} />
        ))}
    </span>
  );
}
