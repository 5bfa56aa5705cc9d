import type { JobObject } from '@graft/contracts';
import { outcomeWords } from '../job-words.js';
import { duration, moment } from '../wording.js';
import { Row, Table } from './table.js';

const COLUMNS = ['Attempt', 'Worker', 'From step', 'Waited', 'Started', 'Lasted', 'Outcome'];

/** Who has worked on a job and how long, apart from the waiting between. */
export function Attempts({ job }: { job: JobObject }) {
  const { attempts } = job.graft;
  if (attempts.length === 0) return <p className="faint">No worker has taken it yet.</p>;
  const waited = (i: number, started: number): string => {
    const seconds = started - ((i === 0 ? job.created_at : attempts[i - 1]?.ended_at) ?? started);
    return seconds > 0 ? duration(seconds) : '–';
  };
  return (
    <Table columns={COLUMNS}>
      {attempts.map(({ epoch, worker, from_step, started_at: from, ended_at: to, outcome }, i) => (
        <Row key={epoch} title={`epoch ${epoch}`}>
          <td>{i + 1}</td>
          <td className="break">{worker ?? '–'}</td>
          <td className="numbers">{from_step}</td>
          <td className="numbers">{from === null ? '–' : waited(i, from)}</td>
          <td>{from === null ? '–' : moment(from)}</td>
          <td className="numbers">
            {from === null ? '–' : duration((to ?? Date.now() / 1000) - from)}
          </td>
          <td>{outcomeWords(outcome)}</td>
        </Row>
      ))}
    </Table>
  );
}
