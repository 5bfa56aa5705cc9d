import type { CheckpointObject, JobObject, MetricsObject, ModelUse } from '@graft/contracts';
import type { Pin } from '../charts/chart.js';
import { bytes, count, short } from '../format.js';
import { Popup } from '../ui/overlays/menu.js';
import { bestStep, CheckpointActions, measured, measuredText } from './job-checkpoints.js';

interface Props {
  readonly rows: readonly CheckpointObject[];
  readonly evaluations: MetricsObject['evaluations'];
  readonly job: JobObject;
  readonly use: ModelUse;
  readonly onError: (error: Error) => void;
}

/** Pins of saved checkpoints above a chart. Each opens its losses and actions. */
export function checkpointPins(props: Props): Pin[] {
  const best = bestStep(props);
  const losses = measured(props.evaluations);
  return props.rows
    .filter(({ step_number: step }) => step > 0)
    .map((row) => ({
      step: row.step_number,
      control: (
        <CheckpointPin
          {...props}
          row={row}
          isBest={row.step_number === best}
          loss={losses.get(row.step_number)}
        />
      ),
    }));
}

interface PinProps extends Props {
  readonly row: CheckpointObject;
  readonly isBest: boolean;
  readonly loss: number | undefined;
}

function CheckpointPin({ row, isBest, loss, job, use, onError }: PinProps) {
  const step = row.step_number;
  const isPublished = job.graft.published_step === step;
  const name = `Checkpoint at step ${count(step)}${isBest ? ', best' : ''}`;
  return (
    <Popup
      label={name}
      className="card menu panel checkpoint"
      align="center"
      trigger={
        <button
          type="button"
          className={isBest || isPublished ? 'pin-button best-pin' : 'pin-button'}
          aria-label={name}
          title={name}
        >
          <span aria-hidden="true">{isBest || isPublished ? '★' : ''}</span>
        </button>
      }
    >
      <b>
        Step {count(step)}
        {isBest && ' · best'}
        {isPublished && ' · published'}
      </b>
      <dl className="pairs">
        <dt>Training loss</dt>
        <dd>{short(row.metrics['train_loss'])}</dd>
        <dt>Validation</dt>
        <dd>{measuredText(loss, row)}</dd>
        <dt>Size</dt>
        <dd>{bytes(row.graft.bytes)}</dd>
      </dl>
      <div className="checkpoint-actions">
        <CheckpointActions row={row} job={job} use={use} onError={onError} />
      </div>
    </Popup>
  );
}
