import type { JobObject } from '@graft/contracts';
import { api } from '../api.js';
import { count, short } from '../format.js';
import { isOver } from '../job-words.js';
import { useLoaded } from '../loading.js';
import { Failure } from './failure.js';
import { Link } from './link.js';
import { Row, Table } from './table.js';

const COLUMNS = ['Line', 'Loss', 'Loss of the base', 'Example'];

/** The training examples that the job has learnt worst, where it keeps a ledger. */
export function JobLedger({ job }: { job: JobObject }) {
  // it comes at the end
  const over = isOver(job);
  const { value, error } = useLoaded(
    ['job-ledger', job.id, over],
    () => api.ledger(job.id),
    over ? 0 : 5000,
  );
  return (
    <section aria-label="Loss ledger">
      <h2>Worst examples</h2>
      <Failure error={error} />
      {value && value.examples === null && <p className="faint">Measured at the end.</p>}
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
    </section>
  );
}
