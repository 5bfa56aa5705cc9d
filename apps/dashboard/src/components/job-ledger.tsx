import type { JobEventObject, JobObject } from '@graft/contracts';
import { api } from '../api.js';
import { count, short } from '../format.js';
import { isOver } from '../job-words.js';
import { useLoaded } from '../loading.js';
import { Failure } from './failure.js';
import { Link } from './link.js';
import { Row, Table } from './table.js';

const COLUMNS = ['Line', 'Loss', 'Loss of the base', 'Example'];
const NOT_YET = <p className="faint">Measured at the end.</p>;

interface Props {
  readonly job: JobObject;
  /** Newest first; one says that the ledger is there. */
  readonly log: readonly JobEventObject[];
}

/** The training examples that the job has learnt worst, where it keeps a ledger. */
export function JobLedger({ job, log }: Props) {
  const isThere = log.some(({ graft }) => graft.kind === 'ledger');
  return (
    <section aria-label="Loss ledger">
      <h2>Worst examples</h2>
      {isThere || isOver(job) ? <Worst job={job} /> : NOT_YET}
    </section>
  );
}

function Worst({ job }: { job: JobObject }) {
  const { value, error } = useLoaded(['job-ledger', job.id], () => api.ledger(job.id));
  return (
    <>
      <Failure error={error} />
      {value && value.examples === null && NOT_YET}
      {value && value.examples !== null && (
        <>
          <p className="faint">
            Of {count(value.examples)} training examples, each by itself at the end, with a loss of{' '}
            {short(value.mean_loss)} on average. One that is not below the loss of the base was
            never learnt.
          </p>
          <Table columns={COLUMNS}>
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
                <td className="numbers">{short(base)}</td>
                <td className="break">{record ?? '–'}</td>
              </Row>
            ))}
          </Table>
        </>
      )}
    </>
  );
}
