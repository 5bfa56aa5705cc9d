import type { JobEventObject, JobLedgerObject, JobObject } from '@graft/contracts';
import { useState } from 'react';
import { api } from '../api/api.js';
import { count, short } from '../format.js';
import { isOver } from './job-text.js';
import { useLoaded } from '../api/loaded.js';
import { Failure } from '../ui/failure.js';
import { LedgerRecord } from './ledger-record.js';
import { Link } from '../ui/link.js';
import { Row, Table } from '../ui/table.js';

const OF_BASE = 'Base model loss';
const COLUMNS = ['Line', 'Loss', OF_BASE, 'Example'];
const NOT_YET = <p className="faint">Measured at the end.</p>;

interface Props {
  readonly job: JobObject;
  /** Newest first. One event reports that the ledger is available. */
  readonly log: readonly JobEventObject[];
}

/** Training examples with the highest loss, if the job has a loss ledger. */
export function JobLedger({ job, log }: Props) {
  const made = log.filter(({ graft }) => graft.kind === 'ledger').length;
  return (
    <section aria-label="Loss ledger">
      <h2>Worst-learned examples</h2>
      {made > 0 || isOver(job) ? <Worst job={job} made={made} /> : NOT_YET}
    </section>
  );
}

function Worst({ job, made }: { readonly job: JobObject; readonly made: number }) {
  /** Null selects the last one. */
  const [chosenStep, setChosenStep] = useState<number | null>(null);
  const { value, error } = useLoaded(['job-ledger', job.id, made, chosenStep], () =>
    api.ledger(job.id, chosenStep),
  );
  // Tasks with a classification head have no loss of the base model.
  const hasBase = value?.data.some(({ base_loss: base }) => base !== null) ?? false;
  return (
    <>
      <Failure error={error} />
      {value && value.examples === null && NOT_YET}
      {value && value.examples !== null && (
        <>
          {value.steps.length > 1 && <StepPick job={job} ledger={value} pick={setChosenStep} />}
          <p className="faint">
            Mean loss of {count(value.examples)} training examples after step {value.step_number}:{' '}
            {short(value.mean_loss)}.
            {hasBase && ' Examples whose loss is no lower than the base model’s were not learned.'}
          </p>
          <Table columns={hasBase ? COLUMNS : COLUMNS.filter((name) => name !== OF_BASE)}>
            {value.data.map(({ line, loss, base_loss: base, record }) => (
              <Row key={line}>
                <td className="numbers">
                  <Link
                    to="/files/$id"
                    params={{ id: job.training_file ?? '' }}
                    search={{ after: String(line - 1) }}
                  >
                    {line}
                  </Link>
                </td>
                <td className="numbers">{short(loss)}</td>
                {hasBase && <td className="numbers">{short(base)}</td>}
                <td className="break">
                  {record === null ? (
                    '–'
                  ) : (
                    <LedgerRecord file={job.training_file ?? null} line={line} record={record} />
                  )}
                </td>
              </Row>
            ))}
          </Table>
        </>
      )}
    </>
  );
}

interface StepPickProps {
  readonly job: JobObject;
  readonly ledger: JobLedgerObject;
  readonly pick: (step: number) => void;
}

/** Selects the epoch whose ledger is shown. The last ledger can be that of the end of training. */
function StepPick({ job, ledger: { steps, step_number: shown }, pick }: StepPickProps) {
  const epochs = [...new Set(job.graft.loss_ledger_epochs)].sort((a, b) => a - b);
  const text = (step: number, i: number) =>
    i === steps.length - 1 && isOver(job)
      ? `the end (step ${step})`
      : `epoch ${epochs[i]} (step ${step})`;
  return (
    <p className="bar">
      <label htmlFor="ledger-step">After</label>
      <select
        id="ledger-step"
        value={String(shown)}
        onChange={(event) => pick(Number(event.target.value))}
      >
        {steps.map((step, i) => (
          <option key={step} value={step}>
            {text(step, i)}
          </option>
        ))}
      </select>
    </p>
  );
}
