import type { JobEventObject, JobLedgerObject, JobObject } from '@graft/contracts';
import { useState } from 'react';
import { api } from '../../api/api.js';
import { count, short } from '../../format.js';
import { isOver } from '../job-text.js';
import { useLoaded } from '../../api/loaded.js';
import { Failure } from '../../ui/feedback/failure.js';
import { LedgerRecord } from './ledger-record.js';
import { Link } from '../../ui/link.js';
import { FixRow } from '../../job-fixes/row-editor.js';
import { useRowFixes } from '../../job-fixes/row-fixes.js';
import { Segmented } from '../../ui/controls/segmented.js';
import { Section } from '../../ui/page.js';
import { Row, Table } from '../../ui/table.js';

const OF_BASE = 'Base model loss';
const NUMBERS = ['Line', 'Loss', OF_BASE];
const COLUMNS = [...NUMBERS, 'Example', ''];
const SHOWN = 50;
/** Maximum number of examples in a ledger. Larger files have only the worst ones in it. */
const MOST = 500;
const NOT_YET = <p className="faint">Measured at the end.</p>;

type Order = 'worst' | 'best';

interface Props {
  readonly job: JobObject;
  /** Newest first. One event reports that the ledger is available. */
  readonly log: readonly JobEventObject[];
}

/** Training examples with the highest or lowest loss, if the job has a loss ledger. Their rows can be fixed. */
export function JobLedger({ job, log }: Props) {
  const made = log.filter(({ graft }) => graft.kind === 'ledger').length;
  const [order, setOrder] = useState<Order>('worst');
  /** Null selects the last one. */
  const [chosenStep, setChosenStep] = useState<number | null>(null);
  const isMeasured = made > 0 || isOver(job);
  const { value, error } = useLoaded(
    ['job-ledger', job.id, made, chosenStep, order],
    async () =>
      isMeasured ? api.ledger(job.id, chosenStep, order === 'worst' ? SHOWN : MOST) : null,
    0,
    true,
  );
  const isWhole = (value?.examples ?? MOST + 1) <= MOST;
  return (
    <Section
      title="Loss ledger"
      actions={
        <>
          {value && value.steps.length > 1 && (
            <StepPick job={job} ledger={value} pick={setChosenStep} />
          )}
          {isWhole && (
            <Segmented
              label="Examples to show"
              value={order}
              choices={[
                ['worst', 'Worst learned'],
                ['best', 'Best learned'],
              ]}
              change={setOrder}
            />
          )}
        </>
      }
    >
      <Failure error={error} />
      {(!isMeasured || value?.examples === null) && NOT_YET}
      {value && value.examples !== null && <Examples job={job} ledger={value} order={order} />}
    </Section>
  );
}

interface ExamplesProps {
  readonly job: JobObject;
  readonly ledger: JobLedgerObject;
  readonly order: Order;
}

function Examples({ job, ledger, order }: ExamplesProps) {
  const { data, examples, mean_loss: mean, step_number: step } = ledger;
  const rows = order === 'worst' ? data.slice(0, SHOWN) : data.toReversed().slice(0, SHOWN);
  // Tasks with a classification head have no loss of the base model.
  const hasBase = data.some(({ base_loss: base }) => base !== null);
  const file = job.training_file ?? null;
  const { file: fixable } = useRowFixes();
  const isFixable = file !== null && file === fixable;
  return (
    <>
      <p className="faint">
        Mean loss of {count(examples ?? 0)} training examples after step {step}: {short(mean)}.
        {hasBase && ' Examples whose loss is no lower than the base model’s were not learned.'}
        {!hasBase && order === 'worst' && ' Wrong labels are often among the worst.'}
      </p>
      <Table
        columns={COLUMNS.filter(
          (name) => (hasBase || name !== OF_BASE) && (isFixable || name !== ''),
        )}
        numbers={NUMBERS}
      >
        {rows.map(({ line, loss, base_loss: base, record }) => (
          <Row key={line}>
            <td>
              <Link
                to="/files/$id"
                params={{ id: file ?? '' }}
                search={{ after: String(line - 1) }}
              >
                {line}
              </Link>
            </td>
            <td>{short(loss)}</td>
            {hasBase && <td>{short(base)}</td>}
            <td className="break">
              {record === null ? '–' : <LedgerRecord file={file} line={line} record={record} />}
            </td>
            {isFixable && (
              <td>
                <FixRow file={file} line={line} />
              </td>
            )}
          </Row>
        ))}
      </Table>
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
    <span className="bar">
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
    </span>
  );
}
