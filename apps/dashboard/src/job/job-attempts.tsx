import type { JobObject } from '@graft/contracts';
import { duration } from '@graft/contracts/duration';
import { trace } from '../api/download.js';
import { outcomeText } from './job-text.js';
import { moment } from '../format.js';
import { Row, Table } from '../ui/table.js';

const COLUMNS = ['Attempt', 'Worker', 'From step', 'Waited', 'Started', 'Duration', 'Outcome'];

interface Props {
  readonly job: JobObject;
  readonly onError: (error: Error) => void;
}

/** Attempts of a job with their workers, durations and waits, and the job's trace to download. */
export function Attempts({ job, onError }: Props) {
  return (
    <>
      <AttemptTable job={job} />
      <p className="bar">
        <button
          title="Open it at ui.perfetto.dev or chrome://tracing"
          onClick={() => trace(job.id).catch(onError)}
        >
          <span aria-hidden="true">↓</span> Download trace
        </button>
      </p>
    </>
  );
}

function AttemptTable({ job }: Pick<Props, 'job'>) {
  const { attempts } = job.graft;
  if (attempts.length === 0) return <p className="faint">Not assigned to a worker yet.</p>;
  const waited = (i: number, started: number): string => {
    const seconds = started - ((i === 0 ? job.created_at : attempts[i - 1]?.ended_at) ?? started);
    return seconds > 0 ? duration(seconds) : '–';
  };
  return (
    <Table columns={COLUMNS}>
      {attempts.map(({ number, worker, from_step, started_at: from, ended_at: to, outcome }, i) => (
        <Row key={number} title={`attempt ${number}`}>
          <td>{i + 1}</td>
          <td className="break">{worker ?? '–'}</td>
          <td className="numbers">{from_step}</td>
          <td className="numbers">{from === null ? '–' : waited(i, from)}</td>
          <td>{from === null ? '–' : moment(from)}</td>
          <td className="numbers">
            {from === null ? '–' : duration((to ?? Date.now() / 1000) - from)}
          </td>
          <td>{outcomeText(outcome)}</td>
        </Row>
      ))}
    </Table>
  );
}
