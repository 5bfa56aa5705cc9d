import type { JobEventObject, JobObject, JobSampleObject } from '@graft/contracts';
import { useEffect } from 'react';
import { api } from '../api/api.js';
import { useLoaded } from '../api/loaded.js';
import { moment } from '../format.js';
import { Failure } from '../ui/feedback/failure.js';
import { Loading } from '../ui/feedback/loading.js';
import { Row, Table } from '../ui/table.js';

type Prompt = JobSampleObject['data'][number]['prompt'];

const LONGEST = 80;

/** Returns the text of a prompt, or the last message of a chat. */
function promptText(prompt: Prompt): string {
  const text = typeof prompt === 'string' ? prompt : (prompt.at(-1)?.content ?? '');
  return text.length > LONGEST ? `${text.slice(0, LONGEST)}…` : text;
}

interface Props {
  readonly job: JobObject;
  /** Newest first. Some events report new answers. */
  readonly log: readonly JobEventObject[];
}

/**
 * Answers of the adapter to the job's sample prompts during training: one row per step, one column
 * per prompt.
 */
export function JobSamples({ job, log }: Props) {
  const newest = log.find(({ graft }) => graft.kind === 'sample')?.id;
  const { value, error, reload } = useLoaded<readonly JobSampleObject[]>(
    ['samples', job.id],
    (now) => api.samples(job.id, now()),
  );
  useEffect(reload, [newest, reload]);
  if (!value)
    return (
      <>
        <Failure error={error} />
        <Loading error={error} />
      </>
    );
  if (value.length === 0)
    return (
      <p className="faint">
        No answers yet. The adapter answers the job’s prompts before its first step and at each
        evaluation.
      </p>
    );
  const prompts = job.graft.sample_prompts ?? [];
  return (
    <>
      <Failure error={error} />
      <Table columns={['Step', ...prompts.map((prompt, i) => `${i + 1}. ${promptText(prompt)}`)]}>
        {value.map((row) => (
          <Row key={row.id}>
            <td className="numbers" title={moment(row.created_at)}>
              {row.step_number}
            </td>
            {row.data.map(({ text, finish_reason: reason }, i) => (
              <td key={i} className="break">
                <span className="pre">{text === '' ? '–' : text}</span>
                {reason === 'length' && <span className="faint">…</span>}
              </td>
            ))}
          </Row>
        ))}
      </Table>
    </>
  );
}
