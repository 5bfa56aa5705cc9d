// Evals: runs that grade given answers, and runs that first generate answers with a model.
import type { EvalRunObject } from '@graft/contracts';
import type { Violation } from '../checker.js';
import { ask, insist, post, type Kind, type Place } from './kind.js';

const ITEMS = 12;
const MODEL_ITEMS = 3;

/** Trigger that records each write of an item's result: its run, and the run's state at that moment. */
const WITNESS = `
  CREATE TABLE battery.graded (run_id text, number int, status text);
  CREATE FUNCTION battery.note_graded() RETURNS trigger LANGUAGE plpgsql AS $$
  BEGIN
    INSERT INTO battery.graded SELECT NEW.run_id, NEW.number, status FROM public.eval_run WHERE id = NEW.run_id;
    RETURN NULL;
  END $$;
  CREATE TRIGGER battery AFTER UPDATE ON public.eval_item FOR EACH ROW WHEN (NEW.status <> 'queued')
    EXECUTE FUNCTION battery.note_graded();`;

interface Item {
  readonly number: number;
  readonly status: string;
  /** Result of each criterion, once for each time that it was graded. */
  readonly results: readonly { readonly name: string; readonly passed: boolean }[];
  /** Number of writes of its result, and of those that happened while its run was not running. */
  readonly written: number;
  readonly writtenLate: number;
  /** Number of model calls that it reports. */
  readonly calls: number;
  /** Error of the model call. */
  readonly error: string | null;
}

export interface RunEvidence {
  readonly id: string;
  readonly status: string;
  /**
   * Number of items that must pass; null if a model generates the answers, which are not known in advance.
   */
  readonly passing: number | null;
  readonly size: number;
  readonly items: readonly Item[];
  /** Counts as the API returns them. */
  readonly shown: EvalRunObject['result_counts'];
}

/** Each run ends, each item of a completed run is graded once, and the counts match the items. */
export function* checkEvals(
  runs: readonly RunEvidence[],
): Generator<[subject: string, what: string]> {
  for (const run of runs) {
    const { id, status, passing, size, items, shown } = run;
    if (!['completed', 'canceled'].includes(status)) yield [id, `is ${status}`];
    if (items.length !== size) yield [id, `has ${items.length} items of ${size}`];
    for (const item of items) yield* checkItem(run, item);
    const count = (wanted: string): number =>
      items.filter(({ status: is }) => is === wanted).length;
    const counted = { total: items.length, passed: count('pass'), failed: count('fail'), errored: count('error') }; // prettier-ignore
    if (JSON.stringify(shown) !== JSON.stringify(counted))
      yield [id, `shows ${JSON.stringify(shown)} instead of ${JSON.stringify(counted)}`];
    if (status === 'completed' && passing !== null && counted.passed !== passing)
      yield [id, `${counted.passed} items passed, not ${passing}`];
  }
}

function* checkItem(
  { id, status: state, passing }: RunEvidence,
  { number, status, results, written, writtenLate, calls, error }: Item,
): Generator<[string, string]> {
  const subject = `${id} item ${number}`;
  if (status === 'queued') {
    if (state === 'completed') yield [subject, 'was not graded'];
    return;
  }
  if (written !== 1) yield [subject, `its result was written ${written} times`];
  if (writtenLate > 0) yield [subject, 'its result was written when its run was not running'];
  if (status === 'error') {
    // `crash` is allowed: if a trainer that only generates answers is killed, the request counts as the cause
    // and is not retried.
    if (error !== 'crash') yield [subject, `could not be graded: ${error}`];
    return;
  }
  const names = results.map(({ name }) => name).sort();
  if (names.join() !== 'close,same') yield [subject, `was graded by ${names.join()}`];
  const isPassed = results.every(({ passed }) => passed);
  if (isPassed !== (status === 'pass')) yield [subject, `is ${status}, unlike its results`];
  const expectedCalls = passing === null ? 1 : 0;
  if (calls !== expectedCalls) yield [subject, `reports ${calls} model calls`];
}

const word = '{{item.answer}}';
const CRITERIA = [
  { type: 'string_check', name: 'same', operation: 'eq', input: '{{sample.output_text}}', reference: word }, // prettier-ignore
  { type: 'text_similarity', name: 'close', evaluation_metric: 'fuzzy_match', input: '{{sample.output_text}}', reference: word, pass_threshold: 0.5 }, // prettier-ignore
];

export class Evals implements Kind {
  readonly name = 'evals';
  private evalId = '';
  private readonly made = new Map<string, number>();

  async begin(place: Place): Promise<void> {
    await place.cluster.query(WITNESS);
    const { id } = await post(place, '/evals', {
      name: 'words',
      data_source_config: { type: 'custom', item_schema: {}, include_sample_schema: true },
      testing_criteria: CRITERIA,
    });
    this.evalId = id ?? '';
  }

  async act(place: Place): Promise<void> {
    const passing = place.random.next() < 0.7 ? Math.floor(place.random.between(0, ITEMS)) : null;
    const source = passing === null ? asking(place.training.model) : answered(passing);
    const body = { metadata: { passing: String(passing) }, data_source: source };
    const path = `/evals/${this.evalId}/runs`;
    const run = await insist(place, { method: 'POST', path, body });
    if (run?.id === undefined || place.random.next() > 0.15) return;
    await ask(place, { method: 'POST', path: `${path}/${run.id}` }).catch(() => undefined);
  }

  async open({ cluster }: Place): Promise<string[]> {
    const rows = await cluster.query<{ id: string; status: string }>(
      `SELECT id, status FROM eval_run WHERE status IN ('queued', 'in_progress')`,
    );
    return rows.map(({ id, status }) => `${id} (${status})`);
  }

  async look(place: Place): Promise<Violation[]> {
    const rows = await place.cluster.query<Omit<RunEvidence, 'shown'>>(
      `SELECT id, status, NULLIF(metadata->>'passing', 'null')::int AS passing,
         jsonb_array_length(data_source->'source'->'content') AS size,
         (SELECT COALESCE(json_agg(json_build_object('number', number, 'status', status, 'results', results,
            'written', (SELECT count(*) FROM battery.graded WHERE run_id = eval_run.id AND number = eval_item.number),
            'writtenLate', (SELECT count(*) FROM battery.graded
              WHERE run_id = eval_run.id AND number = eval_item.number AND status <> 'in_progress'),
            'calls', (SELECT COALESCE(sum((value->>'invocation_count')::int), 0) FROM jsonb_each(usage)),
            'error', sample->'error'->>'code')
            ORDER BY number), '[]') FROM eval_item WHERE run_id = eval_run.id) AS items
       FROM eval_run`,
    );
    const runs: RunEvidence[] = [];
    for (const row of rows) {
      const path = `/evals/${this.evalId}/runs/${row.id}`;
      const { result_counts: shown } = await ask<EvalRunObject>(place, { path });
      runs.push({ ...row, shown });
      this.made.set(row.status, (this.made.get(row.status) ?? 0) + 1);
    }
    return [...checkEvals(runs)].map(([subject, what]) => ({ invariant: 'I16', subject, what }));
  }

  counts(): Record<string, number> {
    return Object.fromEntries([...this.made].map(([status, n]) => [`eval runs ${status}`, n]));
  }
}

/** Items with answers, of which the first `passing` are right. */
const answered = (passing: number): object => ({
  type: 'jsonl',
  source: {
    type: 'file_content',
    content: Array.from({ length: ITEMS }, (_, n) => ({
      item: { answer: `answer ${n}` },
      sample: { output_text: n < passing ? `answer ${n}` : 'something else' },
    })),
  },
});

const asking = (model: string): object => ({
  type: 'completions',
  model,
  source: {
    type: 'file_content',
    content: Array.from({ length: MODEL_ITEMS }, (_, n) => ({ item: { answer: `${n}` } })),
  },
  input_messages: {
    type: 'template',
    template: [{ role: 'user', content: 'say {{item.answer}}' }],
  },
  sampling_params: { max_completion_tokens: 4 },
});
