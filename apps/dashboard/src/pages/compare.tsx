import type { Catalog, JobObject, MetricsObject } from '@graft/contracts';
import { comparedOptions, MAX_COMPARED } from '@graft/contracts/compared-jobs';
import { duration } from '@graft/contracts/duration';
import { useEffect, useRef, useState } from 'react';
import { api } from '../api/api.js';
import { Chart } from '../charts/chart.js';
import {
  AXES,
  comparedCurves,
  comparedNumbers,
  inTraining,
  inValidation,
  type Axis,
} from '../job/compared-jobs.js';
import { percent } from '../job/job-charts.js';
import { Failure } from '../ui/failure.js';
import { Link } from '../ui/link.js';
import { Loading } from '../ui/loading.js';
import { fieldsOf } from '../forms/schema-form.js';
import { fittedWeight } from '../charts/smoothed.js';
import { StatePill } from '../ui/state-pill.js';
import { Row, Table } from '../ui/table.js';
import { bytes, count, methodName, short } from '../format.js';
import { isOver, jobName, lowestValidation } from '../job/job-text.js';
import { useLoaded } from '../api/loaded.js';
import { useMay } from '../api/own-key.js';

/** Polling interval in milliseconds while one of the jobs is training. */
const POLL_MS = 5000;

interface Compared {
  readonly job: JobObject;
  readonly metrics: MetricsObject;
  /** Size of the resulting model. Null if there is none or the key cannot read it. */
  readonly size: number | null;
}

/** Compares up to ten jobs: their curves, results and differing options. */
export function ComparePage({ ids }: { ids: readonly string[] }) {
  const may = useMay();
  const [over, setOver] = useState(false);
  const sizes = useRef(new Map<string, number>());
  /** Loaded once, because it does not change. Null if the file was deleted. */
  const sizeOf = async (file: string): Promise<number | null> => {
    const known = sizes.current.get(file);
    if (known !== undefined) return known;
    const found = await api.file(file).catch(() => null);
    if (found) sizes.current.set(file, found.bytes);
    return found?.bytes ?? null;
  };
  const load = async (id: string): Promise<Compared> => {
    const [job, metrics] = await Promise.all([api.job(id), api.metrics(id)]);
    const found = await Promise.all((may('files:read') ? job.result_files : []).map(sizeOf));
    const known = found.filter((size) => size !== null);
    const size = known.length === 0 ? null : known.reduce((sum, one) => sum + one, 0);
    return { job, metrics, size };
  };
  const wanted = ids.slice(0, MAX_COMPARED);
  const loaded = useLoaded(
    ['compare', ...wanted],
    () => Promise.all(wanted.map(load)),
    over ? 0 : POLL_MS,
  );
  const catalog = useLoaded(['catalog'], api.catalog);
  const { value } = loaded;
  useEffect(() => setOver(value !== null && value.every(({ job }) => isOver(job))), [value]);
  return (
    <main>
      <p className="crumb">
        <Link to="/">Jobs</Link>
      </p>
      <h1>{wanted.length === 1 ? 'One job' : `${wanted.length} jobs compared`}</h1>
      <Failure error={loaded.error ?? catalog.error} />
      {ids.length < 2 && <p>Select two or more jobs in the list of jobs, then press Compare.</p>}
      {ids.length > MAX_COMPARED && (
        <p>
          The first {MAX_COMPARED} of {ids.length} are shown.
        </p>
      )}
      {value === null || catalog.value === null ? (
        <Loading error={loaded.error ?? catalog.error} />
      ) : (
        <>
          <Outcomes all={value} />
          <Curves all={value} catalog={catalog.value} />
          <Options all={value} catalog={catalog.value} />
        </>
      )}
    </main>
  );
}

const colorOf = (n: number): string => `--series-${n + 1}`;

/** Number and name of a job. The number identifies its curves without color. */
const nameOf = ({ job }: Compared, n: number): string => `${n + 1} ${jobName(job)}`;

const COLUMNS = [
  'Job',
  'State',
  'Method',
  'Lowest validation loss',
  'Training loss',
  'Steps',
  'Tokens',
  'Training time',
  'Tokens/s',
  'Memory',
  'Parameters',
  'Size',
];

function Outcomes({ all }: { all: readonly Compared[] }) {
  const losses = all.map(({ metrics }) => lowestValidation(metrics.evaluations)?.loss ?? Infinity);
  const best = Math.min(...losses);
  const scored = all.some(({ job }) => job.graft.best_score !== null);
  return (
    <section aria-label="Results">
      <Table columns={scored ? COLUMNS.toSpliced(4, 0, 'Eval score') : COLUMNS}>
        {all.map((one, n) => (
          <Outcome
            key={one.job.id}
            one={one}
            n={n}
            isBest={all.length > 1 && losses[n] === best}
            scored={scored}
          />
        ))}
      </Table>
      <p className="faint">
        Memory is the peak of the job’s trainer process, including other jobs that ran in it.
      </p>
    </section>
  );
}

interface OutcomeProps {
  readonly one: Compared;
  readonly n: number;
  readonly isBest: boolean;
  /** Whether any of the jobs has a score. */
  readonly scored: boolean;
}

function Outcome({ one, n, isBest, scored }: OutcomeProps) {
  const { job, metrics, size } = one;
  const lowest = lowestValidation(metrics.evaluations);
  const { progress, training_seconds: seconds, trainable_parameters: trainable } = job.graft;
  const { best_score: score } = job.graft;
  const { peak_rss_bytes: peak } = metrics;
  const speeds = (metrics.series['tokens_per_second'] ?? []).filter((v) => v !== null);
  return (
    <Row>
      <td className="break">
        <span className="swatch" style={{ background: `var(${colorOf(n)})` }} aria-hidden="true" />{' '}
        <Link to="/jobs/$id" params={{ id: job.id }}>
          {nameOf(one, n)}
        </Link>
      </td>
      <td>
        <StatePill status={job.status} />
      </td>
      <td className="method">{methodName(job)}</td>
      <td>
        {lowest === null ? '–' : `${short(lowest.loss)} at step ${lowest.step}`}
        {isBest && lowest !== null && <b> lowest</b>}
      </td>
      {scored
        ? [
            <td key="score">
              {score === null ? '–' : `${short(score.eval_score)} at step ${score.step}`}
            </td>,
          ]
        : []}
      <td className="numbers">{short(job.graft.train_loss)}</td>
      <td className="numbers">
        {progress.step}/{progress.total_steps ?? '?'}
      </td>
      <td className="numbers">{job.trained_tokens === null ? '–' : count(job.trained_tokens)}</td>
      <td className="numbers">{seconds > 0 ? duration(seconds) : '–'}</td>
      <td className="numbers">{short(middle(speeds))}</td>
      <td className="numbers">{peak === null ? '–' : bytes(peak)}</td>
      <td className="numbers">{trainable === null ? '–' : count(trainable)}</td>
      <td className="numbers">{size === null ? '–' : bytes(size)}</td>
    </Row>
  );
}

const middle = (values: readonly number[]): number | null =>
  [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? null;

function Curves({ all, catalog }: { all: readonly Compared[]; catalog: Catalog }) {
  const [axis, setAxis] = useState<Axis>('step');
  const [log, setLog] = useState(false);
  const { training, validation } = comparedNumbers(all.map(({ metrics }) => metrics));
  const described = new Map(
    catalog.tasks
      .flatMap(({ metrics }) => [...metrics.step, ...metrics.validation])
      .map((metric) => [metric.name, metric]),
  );
  const drawn = (name: string): boolean => described.get(name)?.draw !== null;
  const charts = [
    ...validation.filter(drawn).map((name) => ({ name, where: 'Validation', points: inValidation(name) })), // prettier-ignore
    ...training.filter(drawn).map((name) => ({ name, where: 'Training', points: inTraining(name) })), // prettier-ignore
  ];
  const longest = Math.max(...all.map(({ metrics }) => metrics.steps.length));
  if (longest === 0) return <p className="faint">No training steps yet.</p>;
  return (
    <section aria-label="Curves">
      <div className="bar controls">
        <label>
          X axis{' '}
          <select value={axis} onChange={(e) => setAxis(e.target.value as Axis)}>
            {Object.entries(AXES).map(([name, { title }]) => (
              <option key={name} value={name}>
                {title}
              </option>
            ))}
          </select>
        </label>
        <label>
          <input type="checkbox" checked={log} onChange={(e) => setLog(e.target.checked)} /> log
          scale
        </label>
      </div>
      <div className="charts">
        {charts.map(({ name, where, points }) => {
          const metric = described.get(name);
          const { x, values } = comparedCurves(all, axis, points);
          const plain = metric?.title ?? name.replaceAll('_', ' ');
          // The learning rate and speed exist for training only.
          const alone = !validation.includes(name);
          const title = alone ? plain : `${where} ${plain.toLowerCase()}`;
          const unit = metric?.unit ? `, ${metric.unit}` : '';
          return (
            <Chart
              key={`${where} ${name} ${axis}`}
              title={`${title}${unit}`}
              over={AXES[axis].unit}
              description={`${title} of ${all.length} jobs`}
              steps={x}
              weight={fittedWeight(longest)}
              log={log && metric?.draw?.log === true}
              series={all.map((one, n) => ({
                label: nameOf(one, n),
                values: percent(metric?.unit ?? null, values[n] ?? []),
                color: colorOf(n),
                ...(where === 'Validation' ? { dots: true } : { smooth: 'only' as const }),
              }))}
            />
          );
        })}
      </div>
    </section>
  );
}

/** Formats a field of a request. */
const written = (value: unknown): string =>
  value === undefined ? '–' : typeof value === 'string' ? value : JSON.stringify(value);

function Options({ all, catalog }: { all: readonly Compared[]; catalog: Catalog }) {
  const [whole, setWhole] = useState(false);
  const fields = fieldsOf(catalog.graft_schema).map(({ name }) => name);
  const options = comparedOptions(
    all.map(({ job }) => job),
    fields,
  );
  const differing = options.filter(({ differs }) => differs);
  const shown = whole ? options : differing;
  return (
    <section aria-label="Options">
      <h2>Options</h2>
      <div className="bar">
        <label>
          <input type="checkbox" checked={whole} onChange={(e) => setWhole(e.target.checked)} />{' '}
          show identical options
        </label>
      </div>
      {shown.length === 0 ? (
        <p className="faint">All options are identical.</p>
      ) : (
        <Table columns={['Option', ...all.map(nameOf)]}>
          {shown.map(({ name, values, differs }) => (
            <Row key={name}>
              <td className="break">{differs && whole ? <b>{name}</b> : name}</td>
              {values.map((value, n) => (
                <td key={n} className="break">
                  {written(value)}
                </td>
              ))}
            </Row>
          ))}
        </Table>
      )}
    </section>
  );
}
