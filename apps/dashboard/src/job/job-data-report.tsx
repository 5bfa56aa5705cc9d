import type { DataReport, JobObject, RecordFormatDescription } from '@graft/contracts';
import { vocabularyText } from '@graft/contracts/plan-line';
import { api } from '../api/api.js';
import { useLoaded } from '../api/loaded.js';
import { useMay, useMayRequest } from '../api/own-key.js';
import { count } from '../format.js';
import { useRecordFormats } from '../files/record-formats.js';
import { Figure } from '../ui/figure.js';
import { kindsIn, Sentences } from '../files/file-report.js';
import { Lines } from '../files/lines.js';
import { Link } from '../ui/link.js';

interface Props {
  readonly job: JobObject;
}

/** Data of a job: its files and their statistics for its base model. */
export function JobDataReport({ job }: Props) {
  const { data } = job.graft;
  const vocabulary = vocabularyText(job.graft);
  if (job.training_file === null) return null;
  return (
    <section aria-label="Data">
      <p className="facts">
        <TrainingFile id={job.training_file} name="Training file" />
        {job.validation_file && <TrainingFile id={job.validation_file} name="Validation file" />}
      </p>
      {vocabulary !== null && (
        <p className="facts">
          <span>
            <span className="faint">Vocabulary</span> {vocabulary}
          </span>
        </p>
      )}
      {data ? (
        <Found report={data} file={job.training_file} />
      ) : (
        <p className="faint">The data was not analyzed.</p>
      )}
    </section>
  );
}

/** Name of a file, if the key may read it. The file may have been deleted. */
function TrainingFile({ id, name }: { id: string; name: string }) {
  const may = useMayRequest()('files:read');
  const file = useLoaded(['file', id, may], async () => (may ? await api.file(id) : null));
  return (
    <span className="break">
      <span className="faint">{name}</span>{' '}
      {file.value ? (
        <Link to="/files/$id" params={{ id }}>
          {file.value.filename}
        </Link>
      ) : (
        <>
          <code>{id}</code>
          {file.error && <span className="faint"> (deleted)</span>}
        </>
      )}
    </span>
  );
}

function Found({ report, file }: { report: DataReport; file: string }) {
  const may = useMay();
  const formats = useRecordFormats();
  const { cut_lines: lines, cut } = report;
  return (
    <>
      <dl className="strip">
        {figuresOf(report, formats).map(([name, value]) => (
          <Figure key={name} name={name} value={value} />
        ))}
      </dl>
      {report.warnings.length > 0 && (
        <div className="notice warn">
          <Sentences of={report.warnings} />
          {may('files:read') && <Lines file={file} lines={lines} all={cut} what="truncated" />}
        </div>
      )}
      {report.sampled && (
        <p className="faint">Token counts are estimated from a sample of the examples.</p>
      )}
    </>
  );
}

function figuresOf(
  report: DataReport,
  formats: readonly RecordFormatDescription[],
): readonly (readonly [name: string, value: string])[] {
  const { examples, tokens, supervised_tokens: supervised, cut, duplicates, overlap } = report;
  const kinds = kindsIn(report, formats);
  const about = report.sampled ? '≈ ' : '';
  const what = [
    ...(kinds.length === 1 ? [] : [['examples', count(examples)] as const]),
    ...kinds.map(([n, kind]) => [kind, count(n)] as const),
  ];
  const again = [
    [duplicates === 1 ? 'duplicate' : 'duplicates', count(duplicates)],
    ...(overlap > 0 ? [['also in the training data', count(overlap)] as const] : []),
  ] as const;
  if (report.pictures) return [...what, ...sizesOf(report.pictures), ...again];
  return [
    ...what,
    ['tokens per epoch', `${about}${count(tokens)}`],
    ['trained on', `${about}${count(supervised)}`],
    ['tokens in the longest example', count(report.longest)],
    [`truncated at ${count(report.max_seq_len)} tokens`, count(cut)],
    ...again,
  ];
}

const sizesOf = ({ smallest, largest }: NonNullable<DataReport['pictures']>) => {
  const size = ({ width, height }: typeof smallest): string => `${width} × ${height}`;
  return [
    ['smallest image, in pixels', size(smallest)],
    ['largest image, in pixels', size(largest)],
  ] as const;
};
