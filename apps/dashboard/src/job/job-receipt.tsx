import type { JobObject, JobReceiptObject, ReceiptComparisonObject } from '@graft/contracts';
import { Check, Copy as Twins, Download, X } from 'lucide-react';
import { useState } from 'react';
import { api } from '../api/api.js';
import { saveText } from '../api/download.js';
import { useLoaded } from '../api/loaded.js';
import { useMay } from '../api/own-key.js';
import { Callout } from '../ui/feedback/callout.js';
import { Button } from '../ui/controls/button.js';
import { CopyButton } from '../ui/controls/copy-button.js';
import { Failure } from '../ui/feedback/failure.js';
import { Link } from '../ui/link.js';
import { Section } from '../ui/page.js';
import { Skeleton } from '../ui/feedback/skeleton.js';
import { Row, Table } from '../ui/table.js';
import { isOver } from './job-text.js';

interface Props {
  readonly job: JobObject;
  /** Starts an identical job, to compare its result. Null if the user may not. */
  readonly startTwin: (() => Promise<JobObject | null>) | null;
}

/** Inputs, attempts and result of a job by SHA-256, and the comparison with an identical job. */
export function JobReceipt({ job, startTwin }: Props) {
  const attempts = job.graft.attempts.length;
  const { value, error } = useLoaded(['receipt', job.id, job.status, attempts], () =>
    api.receipt(job.id),
  );
  if (!value)
    return (
      <>
        <Failure error={error} />
        {!error && <Skeleton height={360} />}
      </>
    );
  const text = JSON.stringify(value, null, 2);
  return (
    <>
      <Section
        title="Receipt"
        text="Everything that determines the result, and the result itself. Equal inputs give equal bytes, however often a run was interrupted."
        actions={
          <>
            <CopyButton text={text} label="Copy receipt as JSON" />
            <Button
              size="s"
              icon={<Download />}
              onClick={() => saveText(text, `${job.graft.name}-receipt.json`, 'application/json')}
            >
              Download JSON
            </Button>
          </>
        }
      >
        <Table columns={['What', 'SHA-256', 'Details']}>
          {hashesOf(value).map(([name, sha256, detail]) => (
            <Row key={name}>
              <td>{name}</td>
              <td className="break">
                <Hash of={sha256} />
              </td>
              <td className="break">{detail}</td>
            </Row>
          ))}
        </Table>
      </Section>
      <Comparison job={job} startTwin={startTwin} />
    </>
  );
}

type Line = readonly [name: string, sha256: string | null, detail: string];

/** Returns the hashes of a receipt with names and details. */
function hashesOf({ base, data, seed, attempts, ...receipt }: JobReceiptObject): Line[] {
  const { result } = receipt;
  return [
    ['Base model', base.sha256, base.model],
    ['Training data', data.training_sha256, ''],
    ...(data.validation_sha256 === null
      ? []
      : [['Validation data', data.validation_sha256, ''] as const]),
    ['Settings', receipt.spec_sha256, `seed ${seed}`],
    ['All inputs', receipt.inputs_sha256, 'base model, data and settings'],
    ...attempts.map(
      ({ worker, trainer_build: build, device, threads, from_step, to_step, outcome }, n): Line => [
        `Attempt ${n + 1}`,
        null,
        [
          worker,
          device,
          threads === null ? null : `${threads} threads`,
          build,
          to_step === null ? `from step ${from_step}` : `steps ${from_step}–${to_step}`,
          outcome,
        ]
          .filter(Boolean)
          .join(' · '),
      ],
    ),
    ...(result
      ? [['Result', result.weights_sha256, `weights of step ${result.published_step ?? '–'}`] as const] // prettier-ignore
      : []),
    ['This receipt', receipt.receipt_sha256, ''],
  ];
}

const Hash = ({ of }: { of: string | null }) => (of === null ? '–' : <code className="hash">{of}</code>); // prettier-ignore

/** Finds identical jobs and compares their bytes with those of this job. */
function Comparison({ job, startTwin }: Props) {
  const may = useMay();
  const [chosen, setChosen] = useState<string | null>(null);
  const [busy, setBusy] = useState(false);
  const others = useLoaded(['twins-of', job.id], () => twinsOf(job), 5000);
  const other = chosen ?? others.value?.[0]?.id ?? null;
  const start = () => {
    setBusy(true);
    void startTwin?.().finally(() => setBusy(false));
  };
  return (
    <Section
      title="Same bytes?"
      text="Compares this job with one that has the same inputs, such as an undisturbed run of an interrupted job."
      actions={
        startTwin && may('jobs:write') ? (
          <Button size="s" icon={<Twins />} busy={busy} onClick={start}>
            Run an identical job
          </Button>
        ) : undefined
      }
    >
      <Failure error={others.error} />
      {other === null ? (
        <p className="faint">No other job has the same data and base model yet.</p>
      ) : (
        <>
          <p className="bar">
            <label htmlFor="twin">Compare with</label>
            <select id="twin" value={other} onChange={(event) => setChosen(event.target.value)}>
              {(others.value ?? []).map(({ id, graft, status }) => (
                <option key={id} value={id}>
                  {graft.name} ({status})
                </option>
              ))}
            </select>
            <Link to="/jobs/$id" params={{ id: other }}>
              Open
            </Link>
          </p>
          <Compared job={job} other={other} />
        </>
      )}
    </Section>
  );
}

/** Loads jobs with the same base, data and seed, newest first. */
async function twinsOf(job: JobObject): Promise<JobObject[]> {
  const query = new URLSearchParams({ model: job.model, kind: 'training' });
  const { data } = await api.jobs(query);
  return data.filter(
    (one) =>
      one.id !== job.id &&
      one.training_file === job.training_file &&
      one.seed === job.seed &&
      JSON.stringify(one.peft) === JSON.stringify(job.peft),
  );
}

const TONES = {
  identical: 'info',
  different_inputs: 'warn',
  different_result: 'error',
  unfinished: 'info',
  unknown: 'warn',
} as const;
const TITLES: Readonly<Record<ReceiptComparisonObject['verdict'], string>> = {
  identical: 'Same bytes',
  different_inputs: 'Different inputs',
  different_result: 'Different bytes',
  unfinished: 'Not finished yet',
  unknown: 'Not fully known',
};
const PARTS: Readonly<Record<string, string>> = {
  base: 'Base model',
  training_data: 'Training data',
  validation_data: 'Validation data',
  init_adapter: 'Starting adapter',
  spec: 'Settings',
  trainer: 'Trainer',
  weights: 'Weights',
};
const PULSE_MS = 3000;

function Compared({ job, other }: { job: JobObject; other: string }) {
  const { value, error } = useLoaded(
    ['receipts', job.id, other, job.status],
    () => api.compareReceipts(job.id, other),
    (now) => (now?.verdict === 'unfinished' && isOver(job) ? PULSE_MS : 0),
  );
  if (!value) return <Failure error={error} />;
  return (
    <>
      <Callout tone={TONES[value.verdict]} title={TITLES[value.verdict]} isLive>
        {value.text}
      </Callout>
      <Table columns={['', 'This job', 'Other job']}>
        {value.parts
          .filter(({ values }) => values.some((one) => one !== null))
          .map(({ part, equal, values }) => (
            <Row key={part}>
              <td>
                <Equal equal={equal} /> {PARTS[part] ?? part}
              </td>
              {values.map((one, n) => (
                <td key={n} className="break">
                  <Hash of={one} />
                </td>
              ))}
            </Row>
          ))}
      </Table>
    </>
  );
}

function Equal({ equal }: { equal: boolean | null }) {
  if (equal === null) return null;
  return equal ? (
    <Check className="same" aria-label="equal" />
  ) : (
    <X className="bad" aria-label="different" />
  );
}
