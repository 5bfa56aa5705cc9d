import type { Catalog } from '@graft/contracts';
import { MAX_COMPARED } from '@graft/contracts/compared-jobs';
import { fittedWeight } from '@graft/contracts/smoothed';
import { GitCompare } from 'lucide-react';
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
import { Failure } from '../ui/feedback/failure.js';
import { Link } from '../ui/link.js';
import { Loading } from '../ui/feedback/loading.js';
import { fieldsOf } from '../forms/schema-fields.js';
import { isOver } from '../job/job-text.js';
import { ButtonLink } from '../ui/controls/button.js';
import { EmptyState } from '../ui/feedback/empty-state.js';
import { Page } from '../ui/page.js';
import { colorOf, CompareResults, nameOf, type Compared } from '../job-list/compare-results.js';
import { CompareSettings } from '../job-list/compare-settings.js';
import { useLoaded } from '../api/loaded.js';
import { useMay } from '../api/own-key.js';

/** Polling interval in milliseconds while one of the jobs is training. */
const POLL_MS = 5000;

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
  const title = wanted.length === 1 ? 'One job' : `${wanted.length} jobs compared`;
  return (
    <Page title={title} crumbs={CRUMBS} width="full">
      <Failure error={loaded.error ?? catalog.error} />
      {ids.length < 2 && (
        <EmptyState
          icon={<GitCompare />}
          title="Nothing to compare yet"
          text="Select two or more jobs in the list of jobs, then press Compare."
          actions={
            <ButtonLink variant="primary" to="/">
              Show jobs
            </ButtonLink>
          }
        />
      )}
      {ids.length > MAX_COMPARED && (
        <p>
          The first {MAX_COMPARED} of {ids.length} are shown.
        </p>
      )}
      {wanted.length > 0 && (value === null || catalog.value === null) && (
        <Loading error={loaded.error ?? catalog.error} />
      )}
      {wanted.length > 0 && value !== null && catalog.value !== null && (
        <Comparison all={value} catalog={catalog.value} />
      )}
    </Page>
  );
}

const CRUMBS = [
  <Link key="jobs" to="/">
    Jobs
  </Link>,
];

function Comparison({ all, catalog }: { all: readonly Compared[]; catalog: Catalog }) {
  const [baseline, setBaseline] = useState<number | null>(null);
  const options = fieldsOf(catalog.graft_schema).map(({ name }) => name);
  return (
    <>
      <CompareResults
        all={all}
        baseline={baseline}
        actions={
          <label>
            Baseline{' '}
            <select
              value={baseline ?? ''}
              onChange={(e) => setBaseline(e.target.value === '' ? null : Number(e.target.value))}
            >
              <option value="">none</option>
              {all.map((one, n) => (
                <option key={one.job.id} value={n}>
                  {nameOf(one, n)}
                </option>
              ))}
            </select>
          </label>
        }
      />
      <CompareSettings all={all} options={options} />
      <Curves all={all} catalog={catalog} />
    </>
  );
}

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
    <section aria-label="Curves" className="section">
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
