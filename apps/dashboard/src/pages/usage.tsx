import { duration } from '@graft/contracts/duration';
import { Download } from 'lucide-react';
import { useNavigate } from '@tanstack/react-router';
import { useContext, useMemo, type ReactNode } from 'react';
import { api } from '../api/api.js';
import { saveText } from '../api/download.js';
import { useLoaded } from '../api/loaded.js';
import { OwnKey, useMayRequest } from '../api/own-key.js';
import { count } from '../format.js';
import { StackedBars, type Stack } from '../operate/stacked-bars.js';
import {
  NOTHING,
  sum,
  usageCsv,
  usageOf,
  type Amounts,
  type Measure,
  type Usage,
} from '../operate/usage-data.js';
import { LimitUse } from '../projects/project-limits.js';
import { Button } from '../ui/controls/button.js';
import { Segmented } from '../ui/controls/segmented.js';
import { EmptyState } from '../ui/feedback/empty-state.js';
import { Failure } from '../ui/feedback/failure.js';
import { Page, Section } from '../ui/page.js';
import { Skeleton } from '../ui/feedback/skeleton.js';
import { Row, Table } from '../ui/table.js';

const RANGES = {
  day: { label: '24 hours', seconds: 86_400, width: '1h' },
  week: { label: '7 days', seconds: 7 * 86_400, width: '1d' },
  month: { label: '30 days', seconds: 30 * 86_400, width: '1d' },
} as const;
type Range = keyof typeof RANGES;
export type GroupBy = 'project_id' | 'model';

const CHARTS: readonly (readonly [Measure, string, (value: number) => string])[] = [
  ['training_seconds', 'Training time', (value) => duration(value)],
  ['trained_tokens', 'Trained tokens', short],
  ['jobs', 'Jobs created', count],
  ['model_tokens', 'Chat and inference tokens', short],
];

/** Groups with a color of their own; all others are one group. */
const COLORED = 7;

interface Props {
  readonly range: Range;
  readonly by: GroupBy;
}

interface PageProps {
  /** Range in the address; the default is a week. */
  readonly range: string;
  readonly by: GroupBy;
}

const isRange = (name: string): name is Range => Object.hasOwn(RANGES, name);

/** Usage of projects or models over time, and how much of the project's limits is used. */
export function UsagePage({ range: given, by }: PageProps) {
  const range = isRange(given) ? given : 'week';
  const usage = useUsage(range, by);
  const nameOf = useNames(by);
  const navigate = useNavigate();
  const show = (next: Props) =>
    void navigate({
      to: '/usage',
      search: {
        ...(next.range !== 'week' && { range: next.range }),
        ...(next.by !== 'project_id' && { by: next.by }),
      },
      replace: true,
      resetScroll: false,
    });
  const { value } = usage;
  return (
    <Page
      title="Usage"
      actions={
        <>
          <Segmented
            label="Group by"
            value={by}
            choices={[
              ['project_id', 'By project'],
              ['model', 'By model'],
            ]}
            change={(next) => show({ range, by: next })}
          />
          <Segmented
            label="Time"
            value={range}
            choices={(Object.keys(RANGES) as Range[]).map((one) => [one, RANGES[one].label])}
            change={(next) => show({ range: next, by })}
          />
          <Button
            icon={<Download />}
            disabled={!value}
            onClick={() =>
              value && saveText(usageCsv(value, by, nameOf), `graft-usage-${range}.csv`, 'text/csv')
            }
          >
            CSV
          </Button>
        </>
      }
    >
      <Failure error={usage.error} />
      {value === null ? (
        !usage.error && <LoadingCharts />
      ) : value.totals.length === 0 ? (
        <EmptyState
          title={`Nothing was used in the last ${RANGES[range].label}`}
          text="Training time, tokens, jobs and requests appear here by hour and day."
        />
      ) : (
        <Charts usage={value} range={range} by={by} nameOf={nameOf} />
      )}
      {/* Its place depends on the number of groups above. */}
      {(value !== null || usage.error) && <Limits />}
    </Page>
  );
}

function useUsage(range: Range, by: GroupBy) {
  const { seconds, width } = RANGES[range];
  return useLoaded<Usage>(
    ['usage', range, by],
    async () => {
      const query = new URLSearchParams({
        start_time: String(Math.floor(Date.now() / 1000) - seconds),
        bucket_width: width,
        group_by: by,
      });
      const [training, inference] = await Promise.all([
        api.trainingUsage(query),
        api.inferenceUsage(query),
      ]);
      return usageOf(training, inference, by);
    },
    30_000,
    true,
  );
}

/** Names of projects for their ids; models have their name already. */
function useNames(by: GroupBy): (group: string) => string {
  const own = useContext(OwnKey)?.project;
  const admin = useMayRequest()('admin');
  const isByProject = by === 'project_id';
  const projects = useLoaded(['projects', 'names', admin, isByProject], async () =>
    admin && isByProject ? await api.projects() : [],
  );
  return useMemo(() => {
    const names = new Map((projects.value ?? []).map(({ id, name }) => [id, name]));
    if (own) names.set(own.id, own.name);
    return (group: string) => names.get(group) ?? group;
  }, [projects.value, own]);
}

interface ChartsProps extends Props {
  readonly usage: Usage;
  readonly nameOf: (group: string) => string;
}

function Charts({ usage, range, by, nameOf }: ChartsProps) {
  const labels = usage.starts.map((start) => bucketLabel(start, range));
  const groups = usage.totals.map(([group]) => group);
  const color = (group: string): string => {
    const at = groups.indexOf(group);
    return at < COLORED ? `--series-${at + 1}` : '--series-8';
  };
  const stacks = (measure: Measure): Stack[] => {
    const values = new Map(groups.map((group) => [group, usage.starts.map(() => 0)]));
    for (const row of usage.rows) {
      const of = values.get(row.group);
      if (of) of[usage.starts.indexOf(row.start)] = row[measure];
    }
    return groups.map((group) => ({
      name: nameOf(group),
      color: color(group),
      values: values.get(group) ?? [],
    }));
  };
  const all = usage.totals.reduce<Amounts>((total, [, amounts]) => sum(total, amounts), NOTHING);
  return (
    <>
      <div className="bars-grid">
        {CHARTS.map(([measure, title, format]) => (
          <StackedBars
            key={measure}
            title={title}
            total={format(all[measure])}
            stacks={stacks(measure)}
            labels={labels}
            format={format}
          />
        ))}
      </div>
      <Table columns={columns(by)} numbers={columns(by).slice(1)}>
        {usage.totals.map(([group, amounts]) => (
          <AmountsRow
            key={group}
            amounts={amounts}
            name={
              <span className="group-name">
                <i style={{ background: `var(${color(group)})` }} aria-hidden="true" />
                {nameOf(group)}
              </span>
            }
          />
        ))}
        {usage.totals.length > 1 && <AmountsRow amounts={all} name={<b>Total</b>} />}
      </Table>
    </>
  );
}

const LoadingCharts = () => (
  <>
    <div className="bars-grid">
      {CHARTS.map(([measure]) => (
        <Skeleton key={measure} height={234} />
      ))}
    </div>
    <Skeleton height={36} rows={2} />
  </>
);

const columns = (by: GroupBy): readonly string[] => [
  by === 'model' ? 'Model' : 'Project',
  'Training time',
  'Trained tokens',
  'Jobs',
  'Failed',
  'Requests',
  'Chat and inference tokens',
];

function AmountsRow({ name, amounts }: { name: ReactNode; amounts: Amounts }) {
  return (
    <Row>
      <td className="break">{name}</td>
      <td>{duration(amounts.training_seconds)}</td>
      <td>{count(amounts.trained_tokens)}</td>
      <td>{count(amounts.jobs)}</td>
      <td>{count(amounts.jobs_failed)}</td>
      <td>{count(amounts.requests)}</td>
      <td>{count(amounts.model_tokens)}</td>
    </Row>
  );
}

function Limits() {
  const limits = useLoaded(['limits', null], api.limits, 10_000);
  return (
    <Section title="Limits of this project">
      <Failure error={limits.error} />
      {limits.value ? (
        <LimitUse limits={limits.value} />
      ) : (
        !limits.error && <Skeleton height={36} rows={6} />
      )}
    </Section>
  );
}

/** Returns "14:00" or "Dec 2". Days are in UTC, as the API's buckets are. */
function bucketLabel(start: number, range: Range): string {
  const at = new Date(start * 1000);
  return range === 'day'
    ? at.toLocaleTimeString('en', { hour: '2-digit', minute: '2-digit', hour12: false })
    : at.toLocaleDateString('en', { month: 'short', day: 'numeric', timeZone: 'UTC' });
}

/** Formats a large number: 1234567 → "1.2 M". */
function short(value: number): string {
  const [size, unit] =
    value >= 1e9 ? [1e9, ' B'] : value >= 1e6 ? [1e6, ' M'] : value >= 1e4 ? [1e3, ' k'] : [1, ''];
  return size === 1 ? count(value) : `${(value / size).toFixed(1)}${unit}`;
}
