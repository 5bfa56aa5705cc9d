import type { JobConfusionObject, JobObject } from '@graft/contracts';
import { useState } from 'react';
import { api } from '../../api/api.js';
import { count } from '../../format.js';
import { useLoaded } from '../../api/loaded.js';
import { ConfusedExamples, type Pair } from './confused-examples.js';
import { Failure } from '../../ui/feedback/failure.js';
import { Loading } from '../../ui/feedback/loading.js';
import { Row, Table } from '../../ui/table.js';
import './confusion.css';

/** Maximum number of labels shown as a matrix. Above it, the most confused pairs are listed. */
const MOST_LABELS = 50;
const MOST_PAIRS = 20;
const RATED = ['Label', 'Examples', 'Precision', 'Recall', 'F1'];
const PAIRS = ['Actual', 'Predicted', 'Count'];

interface Props {
  readonly job: JobObject;
  /** Evaluations on validation data. */
  readonly evaluations: readonly unknown[];
}

/** Per-label metrics and the confusion matrix of the best evaluation, or of a selected one. */
export function JobConfusion({ job, evaluations }: Props) {
  /** Null selects the best. */
  const [chosenStep, setChosenStep] = useState<number | null>(null);
  /** Key of the pair whose examples are open, from keyOf. */
  const [open, setOpen] = useState<string | null>(null);
  // Keep the old data until the new data arrives, so that a new evaluation does not reset scroll
  // position or playing audio.
  const { value: loaded, error } = useLoaded(
    ['job-confusion', job.id, evaluations.length, chosenStep],
    () => api.confusion(job.id, chosenStep),
    0,
    true,
  );
  const value = loaded?.job_id === job.id ? loaded : null;
  if (!value)
    return (
      <>
        <Failure error={error} />
        <Loading error={error} />
      </>
    );
  if (value.step_number === null)
    return <p className="faint">No evaluation with a confusion matrix yet.</p>;
  const { classes, confused } = value;
  const shown = pairsOf(value).get(open ?? '');
  const toggle = (key: string) => setOpen(key === open ? null : key);
  return (
    <section aria-label="Labels">
      <Failure error={error} />
      <StepPick found={value} chosenStep={chosenStep} pick={setChosenStep} />
      {classes.length > 0 && classes.length <= MOST_LABELS ? (
        <Matrix found={value} open={open} toggle={toggle} />
      ) : (
        <Pairs confused={confused} open={open} toggle={toggle} />
      )}
      {shown && <ConfusedExamples file={value.examples_file} pair={shown} />}
      {classes.length > 0 && (
        <Table columns={RATED}>
          {classes.map(({ label, support, precision, recall, f1 }) => (
            <Row key={label}>
              <td className="break">{label}</td>
              <td className="numbers">{count(support)}</td>
              {[precision, recall, f1].map((one, i) => (
                <td key={RATED[i + 2]} className="numbers">
                  {percent(one)}
                </td>
              ))}
            </Row>
          ))}
        </Table>
      )}
    </section>
  );
}

const percent = (share: number | null): string =>
  share === null ? '–' : `${(100 * share).toFixed(1)} %`;

interface StepPickProps {
  readonly found: JobConfusionObject;
  readonly chosenStep: number | null;
  readonly pick: (step: number) => void;
}

function StepPick({ found, chosenStep, pick }: StepPickProps) {
  const { steps, best_step: best, step_number: shown, full, examples } = found;
  return (
    <p className="bar">
      <label htmlFor="confusion-step">Evaluation after step</label>
      <select
        id="confusion-step"
        value={String(chosenStep ?? shown)}
        onChange={(event) => pick(Number(event.target.value))}
      >
        {steps.map((step) => (
          <option key={step} value={step}>
            {step === best ? `${step} (lowest loss)` : step}
          </option>
        ))}
      </select>
      <span className="faint">
        {examples === null ? '' : `${count(examples)} examples, `}
        {full ? 'all of the validation data' : 'a sample of the validation data'}
      </span>
    </p>
  );
}

const keyOf = (label: string, predicted: string): string => JSON.stringify([label, predicted]);

/** Returns all pairs with examples, including correct predictions. */
const pairsOf = ({ classes, confused }: JobConfusionObject): ReadonlyMap<string, Pair> =>
  new Map(
    [
      ...classes.map(({ label, correct, lines }) => ({
        label,
        predicted: label,
        times: correct,
        lines,
      })),
      ...confused.map(({ count: times, ...pair }) => ({ ...pair, times })),
    ].map((pair) => [keyOf(pair.label, pair.predicted), pair]),
  );

interface Choice {
  readonly open: string | null;
  readonly toggle: (key: string) => void;
}

/** Rows are actual labels, columns are predicted labels. */
function Matrix({ found, ...choice }: Choice & { readonly found: JobConfusionObject }) {
  const { classes } = found;
  const pairs = pairsOf(found);
  return (
    <div className="scroll" tabIndex={0} role="region" aria-label="Confusion matrix">
      <table className="confusion">
        <caption className="faint">
          Rows are actual labels, columns are predicted labels. Click a number to see its examples.
        </caption>
        <thead>
          <tr>
            <td />
            {classes.map(({ label }) => (
              <th key={label} scope="col" title={label}>
                {label}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {classes.map(({ label, support }) => (
            <tr key={label}>
              <th scope="row" title={label}>
                {label}
              </th>
              {classes.map(({ label: predicted }) => (
                <Cell
                  key={predicted}
                  pair={pairs.get(keyOf(label, predicted)) ?? none(label, predicted)}
                  support={support}
                  {...choice}
                />
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

const none = (label: string, predicted: string): Pair => ({
  label,
  predicted,
  times: 0,
  lines: [],
});

interface CellProps extends Choice {
  readonly pair: Pair;
  readonly support: number;
}

/** A cell's color is stronger the larger its share of the label's examples. */
function Cell({ pair, support, open, toggle }: CellProps) {
  const { label, predicted, times, lines } = pair;
  const key = keyOf(label, predicted);
  const isRight = label === predicted;
  const share = support > 0 ? times / support : 0;
  const text = isRight
    ? `${times} of ${support} “${label}” predicted correctly`
    : `${times} of ${support} “${label}” predicted as “${predicted}”`;
  return (
    <td
      className={isRight ? 'right' : 'wrong'}
      title={text}
      style={{ '--share': `${Math.round(55 * share)}%` } as Record<string, string>}
    >
      {lines.length > 0 ? (
        <button
          type="button"
          aria-label={text}
          aria-expanded={key === open}
          onClick={() => toggle(key)}
        >
          {times}
        </button>
      ) : times === 0 ? (
        <span className="faint">0</span>
      ) : (
        times
      )}
    </td>
  );
}

function Pairs({ confused, open, toggle }: Choice & Pick<JobConfusionObject, 'confused'>) {
  if (confused.length === 0) return <p>No misclassified examples.</p>;
  return (
    <Table columns={PAIRS}>
      {confused.slice(0, MOST_PAIRS).map(({ label, predicted, count: times, lines }) => {
        const key = keyOf(label, predicted);
        return (
          <Row key={key}>
            <td className="break">{label}</td>
            <td className="break">{predicted}</td>
            <td className="numbers">
              {lines.length === 0 ? (
                count(times)
              ) : (
                <button
                  type="button"
                  className="small"
                  aria-label={`${times} “${label}” predicted as “${predicted}”`}
                  aria-expanded={key === open}
                  onClick={() => toggle(key)}
                >
                  {count(times)}
                </button>
              )}
            </td>
          </Row>
        );
      })}
    </Table>
  );
}
