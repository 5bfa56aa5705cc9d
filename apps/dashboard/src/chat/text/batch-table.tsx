import { Download } from 'lucide-react';
import { useState } from 'react';
import { saveText } from '../../api/download.js';
import { count, modelTitle } from '../../format.js';
import { Button } from '../../ui/controls/button.js';
import { Field } from '../../ui/controls/field.js';
import { Stat, Stats } from '../../ui/stat.js';
import { Row, Table } from '../../ui/table.js';
import { RequestProblem } from '../sides.js';
import { Bar, percent } from '../shares.js';
import { toCsv } from './batch.js';
import { answerText, certainty, type LabelAnswer } from './label-answer.js';
import type { Batch } from './use-batch.js';

/** Rows that are drawn. The file has all. */
const MOST_DRAWN = 500;

interface Props {
  readonly models: readonly string[];
  readonly batch: Batch;
}

/** Labels of many texts: accuracy, a filter by label, and the table. */
export function BatchTable({ models, batch }: Props) {
  const { rows, answers } = batch;
  const [label, setLabel] = useState('');
  const [wrongOnly, setWrongOnly] = useState(false);
  const labelled = rows.some((row) => row.label !== null);
  const texts = answers.map((side) => side.map(answerText));
  const labels = [...new Set(texts.flat())].sort();
  const isWrong = (n: number): boolean =>
    texts.some((side) => side[n] !== undefined && isKnown(n) && side[n] !== rows[n]?.label);
  const isKnown = (n: number): boolean => (rows[n]?.label ?? null) !== null;
  const shown = [...rows.keys()].filter(
    (n) => (label === '' || texts.some((side) => side[n] === label)) && (!wrongOnly || isWrong(n)),
  );
  const names = models.map(modelTitle);
  const isOne = models.length === 1;
  return (
    <section aria-label="Results" className="batch-results">
      <Summary models={names} batch={batch} texts={texts} />
      {batch.error && <RequestProblem error={batch.error} again={batch.resume} />}
      <div className="bar">
        <Field id="filter-label" label="Label">
          <select id="filter-label" value={label} onChange={(e) => setLabel(e.target.value)}>
            <option value="">all</option>
            {labels.map((one) => (
              <option key={one}>{one}</option>
            ))}
          </select>
        </Field>
        {labelled && (
          <label>
            <input
              type="checkbox"
              checked={wrongOnly}
              onChange={(event) => setWrongOnly(event.target.checked)}
            />{' '}
            wrong only
          </label>
        )}
        <span className="faint numbers">
          {count(shown.length)} of {count(rows.length)}
        </span>
        <span className="grow" />
        <Button
          icon={<Download />}
          disabled={batch.busy}
          onClick={() => void saveText(csvOf(names, batch), 'labels.csv', 'text/csv')}
        >
          Download CSV
        </Button>
      </div>
      <Table
        columns={[
          'Text',
          ...(labelled ? ['Right label'] : []),
          ...names.flatMap((name) =>
            isOne ? ['Label', 'Probability'] : [name, `Probability of ${name}`],
          ),
        ]}
      >
        {shown.slice(0, MOST_DRAWN).map((n) => (
          <Row key={n}>
            <td className="break">
              {rows[n]?.text}
              {rows[n]?.pair !== null && <span className="faint"> / {rows[n]?.pair}</span>}
            </td>
            {labelled && <td>{rows[n]?.label ?? '–'}</td>}
            {answers.flatMap((side, at) => cellsOf(side[n], rows[n]?.label ?? null, at))}
          </Row>
        ))}
      </Table>
      {shown.length > MOST_DRAWN && (
        <p className="faint">The first {MOST_DRAWN} are shown. The CSV has all.</p>
      )}
    </section>
  );
}

/** Cells of an answer: its label, and its probability. */
function cellsOf(answer: LabelAnswer | undefined, right: string | null, key: number) {
  const share = answer ? certainty(answer) : null;
  const isWrong = right !== null && answer !== undefined && answerText(answer) !== right;
  return [
    <td key={`${key} label`} className={isWrong ? 'bad' : undefined}>
      {answer ? answerText(answer) : <span className="faint">…</span>}
      {isWrong && <span className="unseen"> (wrong)</span>}
    </td>,
    <td key={`${key} share`}>
      {share !== null && (
        <span className="share-cell">
          <Bar share={share} />
          <span className="numbers">{percent(share)}</span>
        </span>
      )}
    </td>,
  ];
}

interface SummaryProps extends Props {
  readonly texts: readonly (readonly string[])[];
}

/** Progress, and the accuracy of each model if the right labels are known. */
function Summary({ models, batch: { rows, answers, busy }, texts }: SummaryProps) {
  const done = Math.min(...answers.map((side) => side.length));
  return (
    <Stats label="Summary">
      <Stat
        label={busy ? 'Classifying' : 'Classified'}
        value={`${count(done)} of ${count(rows.length)}`}
      />
      {texts.map((side, n) => {
        const known = side.flatMap((text, at) =>
          rows[at]?.label === null ? [] : [text === rows[at]?.label],
        );
        const right = known.filter(Boolean).length;
        return known.length === 0 ? null : (
          <Stat
            key={models[n]}
            label={models.length > 1 ? `Accuracy of ${models[n]}` : 'Accuracy'}
            value={percent(right / known.length)}
            note={`${count(right)} of ${count(known.length)} right`}
          />
        );
      })}
    </Stats>
  );
}

function csvOf(models: readonly string[], { rows, answers }: Batch): string {
  const labelled = rows.some(({ label }) => label !== null);
  const paired = rows.some(({ pair }) => pair !== null);
  const isOne = models.length === 1;
  const head = [
    'text',
    ...(paired ? ['text_pair'] : []),
    ...(labelled ? ['label'] : []),
    ...models.flatMap((name) =>
      isOne ? ['predicted', 'probability'] : [`predicted by ${name}`, `probability of ${name}`],
    ),
  ];
  const body = rows.map((row, n) => [
    row.text,
    ...(paired ? [row.pair ?? ''] : []),
    ...(labelled ? [row.label ?? ''] : []),
    ...answers.flatMap((side) => {
      const answer = side[n];
      if (!answer) return ['', ''];
      const share = certainty(answer);
      return [answerText(answer), share === null ? '' : share.toFixed(6)];
    }),
  ]);
  return toCsv([head, ...body]);
}
