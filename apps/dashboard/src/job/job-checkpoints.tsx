import type { CheckpointObject, JobObject, MetricsObject, ModelUse } from '@graft/contracts';
import { EVAL_SCORE } from '@graft/contracts/evals';
import { archive } from '../api/download.js';
import { isOver, lowestValidation } from './job-text.js';
import { useMay } from '../api/own-key.js';
import { ago, bytes, moment, short } from '../format.js';
import { Button, ButtonLink } from '../ui/controls/button.js';
import { CopyButton } from '../ui/controls/copy-button.js';
import { Row, Table } from '../ui/table.js';

const NUMBERS = ['Training loss', 'Validation loss', 'Size', 'Saved'];
const COLUMNS = ['Step', ...NUMBERS, ''];

interface Props {
  readonly rows: readonly CheckpointObject[];
  readonly evaluations: MetricsObject['evaluations'];
  readonly job: JobObject;
  readonly use: ModelUse;
  readonly onError: (error: Error) => void;
}

/** Returns validation losses by step, including steps without a checkpoint. */
export const measured = (evaluations: MetricsObject['evaluations']): ReadonlyMap<number, number> =>
  new Map(evaluations.flatMap(({ step, loss }) => (loss === null ? [] : [[step, loss]])));

/** Returns the step of the best checkpoint. Null if there are not two to compare. */
export function bestStep({
  rows,
  evaluations,
}: Pick<Props, 'rows' | 'evaluations'>): number | null {
  const marked = rows.find((row) => row.graft.best);
  const losses = measured(evaluations);
  const compared = rows.filter(
    (row) => losses.has(row.step_number) || row.metrics[EVAL_SCORE] !== undefined,
  );
  if (compared.length < 2) return null;
  if (marked) return marked.step_number;
  const kept = evaluations.filter(({ step }) => compared.some((row) => row.step_number === step));
  return lowestValidation(kept)?.step ?? null;
}

/** Returns the validation loss, with the eval score if the job has an eval. */
export function measuredText(loss: number | undefined, { metrics }: CheckpointObject): string {
  const score = metrics[EVAL_SCORE];
  if (score === undefined) return short(loss);
  const passing = `${Math.round(100 * score)} % pass`;
  return loss === undefined ? passing : `${short(loss)}, ${passing}`;
}

function noneSaved(job: JobObject): string {
  if (!isOver(job)) return 'No checkpoints yet.';
  return job.graft.progress.step > 0
    ? 'No checkpoints: the run ended before its first one.'
    : 'No checkpoints.';
}

export function Checkpoints(props: Props) {
  const { rows, evaluations } = props;
  if (rows.length === 0) return <p className="faint">{noneSaved(props.job)}</p>;
  const best = bestStep(props);
  const losses = measured(evaluations);
  return (
    <Table columns={COLUMNS} numbers={NUMBERS}>
      {rows.map((row) => (
        <Row key={row.id}>
          <td className="numbers">
            {row.step_number}
            {row.step_number === best && (
              <b className="best">
                {' '}
                <span aria-hidden="true">★</span> best
              </b>
            )}
          </td>
          <td className="numbers">
            {row.step_number === 0 ? '–' : short(row.metrics['train_loss'])}
          </td>
          <td className="numbers">{measuredText(losses.get(row.step_number), row)}</td>
          <td className="numbers">{row.graft ? bytes(row.graft.bytes) : '–'}</td>
          <td className="numbers" title={moment(row.created_at)}>
            {ago(row.created_at)}
          </td>
          <td className="actions">
            <CheckpointActions row={row} job={props.job} use={props.use} onError={props.onError} />
          </td>
        </Row>
      ))}
    </Table>
  );
}

const TRY = {
  chat: 'Chat',
  embed: 'Embed',
  classify: 'Classify',
  transcribe: 'Transcribe',
} as const;

interface ActionsProps extends Pick<Props, 'job' | 'use' | 'onError'> {
  readonly row: CheckpointObject;
}

/** Downloads a checkpoint, tries it, or starts a job from it. */
export function CheckpointActions({ row, job, use, onError }: ActionsProps) {
  const name = row.fine_tuned_model_checkpoint;
  const may = useMay();
  if (row.graft.usable === false) return <span className="faint">for resuming only</span>;
  return (
    <>
      <CopyButton text={name} label={`Copy model name of step ${row.step_number}`} />
      {may('files:read') && (
        <Button
          size="s"
          aria-label={`Download step ${row.step_number}`}
          onClick={() => archive(name).catch(onError)}
        >
          Download
        </Button>
      )}
      {may('models:read') && (
        <ButtonLink
          size="s"
          aria-label={`${TRY[use]} with step ${row.step_number}`}
          to="/chat"
          search={{ model: name }}
        >
          {TRY[use]}
        </ButtonLink>
      )}
      {may('jobs:write', 'models:read', 'files:read') && (
        <ButtonLink
          size="s"
          aria-label={`Branch from here: step ${row.step_number}`}
          to="/new"
          search={{ from: job.id, checkpoint: name }}
        >
          Branch from here
        </ButtonLink>
      )}
    </>
  );
}
