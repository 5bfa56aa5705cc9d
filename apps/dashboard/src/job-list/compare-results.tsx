import type { JobObject, MetricsObject } from '@graft/contracts';
import { duration } from '@graft/contracts/duration';
import { bytes, count, methodName, short } from '../format.js';
import { jobName, lowestValidation } from '../job/job-text.js';
import { Link } from '../ui/link.js';
import { Section } from '../ui/page.js';
import { StateDot } from '../ui/state-pill.js';
import { Row, Table } from '../ui/table.js';

export interface Compared {
  readonly job: JobObject;
  readonly metrics: MetricsObject;
  /** Size of the resulting model. Null if there is none or the key cannot read it. */
  readonly size: number | null;
}

/** Color of a job's curves, by its position. */
export const colorOf = (n: number): string => `--series-${n + 1}`;

/** Number and name of a job. The number identifies its curves without color. */
export const nameOf = ({ job }: Pick<Compared, 'job'>, n: number): string =>
  `${n + 1} ${jobName(job)}`;

export const RunName = ({ one, n }: { one: Pick<Compared, 'job'>; n: number }) => (
  <>
    <span className="swatch" style={{ background: `var(${colorOf(n)})` }} aria-hidden="true" />{' '}
    <Link to="/jobs/$id" params={{ id: one.job.id }}>
      {nameOf(one, n)}
    </Link>
  </>
);

interface Outcome {
  readonly title: string;
  readonly of: (one: Compared) => number | null;
  readonly text: (value: number) => string;
  /** Direction that is better. Null if it is neither. */
  readonly better: 'high' | 'low' | null;
}

const percent = (share: number): string => `${Math.round(100 * share)} %`;
const middle = (values: readonly number[]): number | null =>
  [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? null;
const speedOf = ({ metrics }: Compared): number | null =>
  middle((metrics.series['tokens_per_second'] ?? []).filter((v) => v !== null));

/** Results first, then what they cost. */
const OUTCOMES: readonly Outcome[] = [
  { title: 'Eval score', of: ({ job }) => job.graft.best_score?.eval_score ?? null, text: short, better: 'high' },
  { title: 'Accuracy', of: ({ job }) => job.graft.best?.accuracy ?? null, text: percent, better: 'high' },
  { title: 'Lowest validation loss', of: ({ metrics }) => lowestValidation(metrics.evaluations)?.loss ?? null, text: short, better: 'low' },
  { title: 'Training loss', of: ({ job }) => job.graft.train_loss, text: short, better: null },
  { title: 'Training time', of: ({ job }) => job.graft.training_seconds || null, text: duration, better: 'low' },
  { title: 'Memory', of: ({ metrics }) => metrics.peak_rss_bytes, text: bytes, better: 'low' },
  { title: 'Model size', of: ({ size }) => size, text: bytes, better: 'low' },
  { title: 'Parameters', of: ({ job }) => job.graft.trainable_parameters, text: count, better: null },
  { title: 'Tokens', of: ({ job }) => job.trained_tokens, text: count, better: null },
  { title: 'Tokens/s', of: speedOf, text: short, better: 'high' },
]; // prettier-ignore

/** Returns the value that no other job improves; null if all are equal or there is only one. */
function bestOf(values: readonly (number | null)[], better: Outcome['better']): number | null {
  const known = values.filter((value) => value !== null);
  if (better === null || new Set(known).size < 2) return null;
  return better === 'high' ? Math.max(...known) : Math.min(...known);
}

interface Props {
  readonly all: readonly Compared[];
  /** Position of the job that the others are compared with. Null for none. */
  readonly baseline: number | null;
  readonly actions: React.ReactNode;
}

/** Results and costs of the jobs, with the best of each column marked. */
export function CompareResults({ all, baseline, actions }: Props) {
  const columns = OUTCOMES.map((outcome) => {
    const values = all.map(outcome.of);
    return { ...outcome, values, best: bestOf(values, outcome.better) };
  }).filter(({ values }) => values.some((value) => value !== null));
  const titles = columns.map(({ title }) => title);
  return (
    <Section title="Results" actions={actions}>
      <Table columns={['Job', 'State', 'Method', ...titles]} numbers={titles}>
        {all.map((one, n) => (
          <Row key={one.job.id}>
            {[
              <td key="job" className="break">
                <RunName one={one} n={n} />
              </td>,
              <td key="state">
                <StateDot status={one.job.status} />
              </td>,
              <td key="method" className="method">
                {methodName(one.job)}
              </td>,
              ...columns.map(({ title, values, best, text }) => {
                const value = values[n] ?? null;
                const base = baseline === null ? null : (values[baseline] ?? null);
                return (
                  <td key={title}>
                    {value === null ? '–' : text(value)}
                    {value !== null && value === best && <b className="best-mark">best</b>}
                    {value !== null && base !== null && n !== baseline && (
                      <small className="delta">{deltaText(value, base)}</small>
                    )}
                  </td>
                );
              }),
            ]}
          </Row>
        ))}
      </Table>
      <p className="faint">
        Memory is the peak of the job’s trainer process, including other jobs that ran in it.
      </p>
    </Section>
  );
}

/** Returns the difference from the baseline in percent: "−12 %". */
export function deltaText(value: number, base: number): string {
  if (base === 0 || value === base) return '=';
  const change = (100 * (value - base)) / Math.abs(base);
  const size = Math.abs(change);
  const text = size < 9.95 ? size.toFixed(1) : String(Math.round(size));
  return `${change < 0 ? '−' : '+'}${text} %`;
}
