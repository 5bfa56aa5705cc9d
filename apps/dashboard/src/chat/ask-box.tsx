import { taggedText } from '@graft/contracts/tagged-text';
import { useEffect, useRef, useState, type FormEvent, type ReactNode } from 'react';
import { api } from '../api/api.js';
import { Failure } from '../ui/failure.js';
import { Row, Table } from '../ui/table.js';
import { modelTitle } from '../format.js';

/** Answers of several models to the same inputs. */
interface Comparison<T> {
  readonly inputs: readonly string[];
  readonly answers: readonly (readonly T[] | Error)[];
}

interface BoxProps<T> {
  readonly models: readonly string[];
  /** Label of the button. */
  readonly verb: string;
  readonly hint: string;
  readonly example: string;
  readonly ask: (model: string, inputs: readonly string[], signal: AbortSignal) => Promise<T[]>;
  readonly columns: readonly string[];
  readonly cells: (answer: T, all: readonly T[]) => readonly ReactNode[];
}

/** A text area with one input per line, and a table of each model's answers. */
function AskBox<T>({ models, verb, hint, example, ask, columns, cells }: BoxProps<T>) {
  const [text, setText] = useState('');
  const [comparison, setComparison] = useState<Comparison<T> | null>(null);
  const [busy, setBusy] = useState(false);
  const stop = useRef<AbortController | null>(null);
  useEffect(() => () => stop.current?.abort(), []);
  const submit = async (event: FormEvent) => {
    event.preventDefault();
    const inputs = text.split('\n').filter((line) => line.trim() !== '');
    if (inputs.length === 0) return;
    setBusy(true);
    stop.current = new AbortController();
    const { signal } = stop.current;
    const answers = await Promise.all(
      models.map((model) => ask(model, inputs, signal).catch((error: Error) => error)),
    );
    if (!signal.aborted) setComparison({ inputs, answers });
    setBusy(false);
  };
  return (
    <>
      <form className="stack" onSubmit={(event) => void submit(event)}>
        <label htmlFor="inputs">{hint}</label>
        <textarea
          id="inputs"
          className="wide"
          rows={5}
          required
          autoFocus
          value={text}
          onChange={(e) => setText(e.target.value)}
          placeholder={example}
        />
        {busy ? (
          <button type="button" onClick={() => stop.current?.abort()}>
            Stop
          </button>
        ) : (
          <button className="main">{verb}</button>
        )}
      </form>
      {comparison && (
        <div className="sides" role="status" aria-busy={busy}>
          {comparison.answers.map((answers, i) => (
            <section key={models[i]} className="card" aria-label={models[i]}>
              <h2 className="break">{modelTitle(models[i] ?? '')}</h2>
              {answers instanceof Error ? (
                <Failure error={answers} />
              ) : (
                <Table columns={['Text', ...columns]}>
                  {answers.map((answer, n) => (
                    <Row key={n}>
                      <td className="break">{comparison.inputs[n]}</td>
                      {cells(answer, answers).map((cell, at) => (
                        <td key={at}>{cell}</td>
                      ))}
                    </Row>
                  ))}
                </Table>
              )}
            </section>
          ))}
        </div>
      )}
    </>
  );
}

/**
 * Compares texts by their embeddings. It shows similarities to the first text, because raw vectors
 * are hard to read.
 */
export function EmbedBox({ models }: { models: readonly string[] }) {
  return (
    <AskBox<readonly number[]>
      models={models}
      verb="Compare"
      hint="Texts, one per line; each is compared with the first"
      example={'how do I reset my password\nI cannot sign in\nwhat do you charge'}
      ask={(model, inputs, signal) => api.embed(model, inputs, signal)}
      columns={['Cosine']}
      cells={(vector, [first = []]) => [<Share key="cosine" value={cosine(first, vector)} />]}
    />
  );
}

export function ClassifyBox({ models }: { models: readonly string[] }) {
  return (
    <AskBox<Label>
      models={models}
      verb="Classify"
      hint='Texts, one per line; a line may be a JSON object, such as {"question":…,"context":…}'
      example="I would buy it again"
      ask={(model, inputs, signal) => api.classify(model, inputs.map(inputOf), signal)}
      columns={['Answer', 'Probability']}
      cells={labelCells}
    />
  );
}

export type Label = Readonly<Record<string, unknown>>;

/** Returns the cosine similarity of two vectors of length 1. */
export const cosine = (a: readonly number[], b: readonly number[]): number =>
  a.reduce((sum, value, i) => sum + value * (b[i] ?? 0), 0);

export const Share = ({ value }: { value: number }) => (
  <>
    <meter min={0} max={1} value={Math.max(0, value)} aria-hidden="true" />{' '}
    <span className="numbers">{value.toFixed(3)}</span>
  </>
);

export function inputOf(line: string): unknown {
  if (!line.trimStart().startsWith('{')) return line;
  try {
    return JSON.parse(line) as unknown;
  } catch {
    return line;
  }
}

/**
 * Formats an answer for table cells: a label with its probability, several labels, a score, tagged
 * words, or a span of the text. Other answers are shown as JSON.
 */
export function labelCells({ index: _index, ...answer }: Label): readonly ReactNode[] {
  const { label, labels, value, probs, answer: found, score } = answer;
  if (typeof value === 'number') return [value.toFixed(4), ''];
  if (typeof found === 'string' && typeof score === 'number')
    return [found || 'none', `score ${score.toFixed(3)}`];
  const tagged = taggedText(answer);
  if (tagged !== null) return [tagged, ''];
  const most = Array.isArray(probs) ? Math.max(...(probs as number[])) : null;
  if (typeof label === 'string')
    return [label, most === null ? '' : <Share key="share" value={most} />];
  if (Array.isArray(labels)) return [labels.join(', ') || 'none', ''];
  return [<code key="answer">{JSON.stringify(answer)}</code>, ''];
}
