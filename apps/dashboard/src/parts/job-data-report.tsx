import type { DataReport, JobObject } from '@graft/contracts';
import { api } from '../api.js';
import { useLoaded } from '../loading.js';
import { linkTo } from '../navigation.js';
import { useMay } from '../own-key.js';
import { count } from '../wording.js';
import { Figure } from './figure.js';
import { kindsIn, Sentences } from './file-report.js';
import { Lines } from './lines.js';

/** What a job learns from: its files, and what they are for its base. */
export function JobDataReport({ job }: { job: JobObject }) {
  const { data } = job.graft;
  return (
    <section aria-label="Data">
      <p className="facts">
        <TrainingFile id={job.training_file} name="Learns from" />
        {job.validation_file && <TrainingFile id={job.validation_file} name="Validated on" />}
      </p>
      {data ? (
        <Found report={data} file={job.training_file} />
      ) : (
        <p className="faint">The data were not looked at.</p>
      )}
    </section>
  );
}

/** By name where the key may know it; a file may have been deleted since. */
function TrainingFile({ id, name }: { id: string; name: string }) {
  const may = useMay()('files:read');
  const file = useLoaded(async () => (may ? await api.file(id) : null));
  return (
    <span className="break">
      <span className="faint">{name}</span>{' '}
      {file.value ? (
        <a {...linkTo(`/files/${id}`)}>{file.value.filename}</a>
      ) : (
        <>
          <code>{id}</code>
          {file.error && <span className="faint"> (deleted since)</span>}
        </>
      )}
    </span>
  );
}

function Found({ report, file }: { report: DataReport; file: string }) {
  const may = useMay();
  const { cut_lines: lines, cut } = report;
  return (
    <>
      <dl className="strip">
        {figuresOf(report).map(([name, value]) => (
          <Figure key={name} name={name} value={value} />
        ))}
      </dl>
      {report.warnings.length > 0 && (
        <div className="notice warn">
          <Sentences of={report.warnings} />
          {may('files:read') && <Lines file={file} lines={lines} all={cut} what="cut" />}
        </div>
      )}
      {report.sampled && <p className="faint">Tokens are estimated from a part of the examples.</p>}
    </>
  );
}

function figuresOf(report: DataReport): readonly (readonly [name: string, value: string])[] {
  const { examples, tokens, supervised_tokens: learnt, cut, duplicates, overlap } = report;
  const kinds = kindsIn(report);
  const about = report.sampled ? '≈ ' : '';
  return [
    ...(kinds.length === 1 ? [] : [['examples', count(examples)] as const]),
    ...kinds.map(([n, kind]) => [kind, count(n)] as const),
    ['tokens in a pass', `${about}${count(tokens)}`],
    ['of them learnt', `${about}${count(learnt)}`],
    ['tokens in the longest', count(report.longest)],
    [`cut at ${count(report.max_seq_len)} tokens`, count(cut)],
    [duplicates === 1 ? 'duplicate' : 'duplicates', count(duplicates)],
    ...(overlap > 0 ? [['in the training data, too', count(overlap)] as const] : []),
  ];
}
