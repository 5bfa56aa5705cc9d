import type { CatalogTask, JobObject, MetricsObject } from '@graft/contracts';
import { api } from '../api/api.js';
import { useLoaded } from '../api/loaded.js';
import { FIXED_HELD_OUT, FIXED_ROWS, FIXES_JOB } from '../job-fixes/retrain.js';
import { Callout } from '../ui/feedback/callout.js';
import { Link } from '../ui/link.js';
import { mainMetric, measure, shownEvaluation } from './headline.js';

interface Props {
  readonly job: JobObject;
  readonly metrics: MetricsObject;
  readonly task: CatalogTask | undefined;
}

/** Metric of a job on corrected rows, before and after, on the same held-out rows. */
export function BeforeAfter({ job, metrics, task }: Props) {
  const source = job.metadata?.[FIXES_JOB] ?? null;
  const before = useLoaded(['fixes-job', source], async () => {
    if (source === null) return null;
    const [old, measured] = await Promise.all([api.job(source), api.metrics(source)]);
    return { job: old, metrics: measured };
  });
  if (source === null || !before.value) return null;
  const metric = mainMetric(task, metrics.evaluations);
  const old = metric && shownEvaluation(before.value.job, before.value.metrics)?.[metric.name];
  const now = metric && shownEvaluation(job, metrics)?.[metric.name];
  if (!metric || typeof old !== 'number' || typeof now !== 'number') return null;
  const rows = Number(job.metadata?.[FIXED_ROWS] ?? 0);
  const heldOut = Number(job.metadata?.[FIXED_HELD_OUT] ?? 0);
  return (
    <Callout
      title={`${metric.title}: ${measure(old, metric)} before, ${measure(now, metric)} after ${rows} fixed row${rows === 1 ? '' : 's'}`}
    >
      {heldOut > 0
        ? `${heldOut} of the held-out rows were fixed, too, so both values are not of the same labels. `
        : 'Measured on the same held-out rows. '}
      Before:{' '}
      <Link to="/jobs/$id" params={{ id: source }}>
        {before.value.job.graft.name}
      </Link>
      .
    </Callout>
  );
}
