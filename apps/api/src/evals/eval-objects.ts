import type {
  EvalObject,
  EvalOutputItemObject,
  EvalRunCounts,
  EvalRunObject,
  TestingCriterionObject,
} from '@graft/contracts';
import type { Eval, EvalItem, EvalRun } from '../database/entities/evals.js';
import { unix, unixOrNull } from '../ids.js';
import { withoutTexts } from './deleted-texts.js';

export function evalObject(one: Eval): EvalObject {
  const { item_schema: item, include_sample_schema: samples } = one.data_source_config;
  const sample = { type: 'object', properties: { output_text: { type: 'string' } } };
  return {
    id: one.id,
    object: 'eval',
    created_at: unix(one.created_at),
    name: one.name,
    metadata: one.metadata ?? {},
    data_source_config: {
      type: 'custom',
      schema: {
        type: 'object',
        properties: { item, ...(samples === true ? { sample } : {}) },
        required: ['item', ...(samples === true ? ['sample'] : [])],
      },
    },
    testing_criteria: one.testing_criteria as readonly TestingCriterionObject[],
  };
}

export function runObject(run: EvalRun, counts: EvalRunCounts): EvalRunObject {
  return {
    id: run.id,
    object: 'eval.run',
    eval_id: run.eval_id,
    // Graft has no page for reports.
    report_url: '',
    status: run.status,
    model: run.model,
    name: run.name,
    created_at: unix(run.created_at),
    ...counts,
    data_source: run.data_source,
    metadata: run.metadata ?? {},
    error: run.error,
    graft: {
      items_deleted_at: unixOrNull(run.items_deleted_at),
      samples_deleted_at: unixOrNull(run.samples_deleted_at),
    },
  };
}

export const outputItemId = (runId: string, number: number): string =>
  `outputitem_${runId.replace(/^evalrun_/, '')}_${number}`;

/** Returns the number of an item, or null if the id does not belong to the run. */
export function itemNumber(runId: string, id: string): number | null {
  const number = Number(/_(\d{1,9})$/.exec(id)?.[1] ?? NaN);
  return id === outputItemId(runId, number) ? number : null;
}

/**
 * Values of the fields that OpenAI's SDKs require in every sample, for answers that Graft did not generate and
 * requests that failed.
 */
const EMPTY_SAMPLE = {
  model: '',
  input: [],
  finish_reason: '',
  usage: { prompt_tokens: 0, completion_tokens: 0, total_tokens: 0, cached_tokens: 0 },
  temperature: 1,
  top_p: 1,
  seed: 0,
  max_completion_tokens: 0,
  error: null,
};

function sampleObject({ sample }: Pick<EvalItem, 'sample'>): EvalOutputItemObject['sample'] {
  const text = sample?.['output_text'];
  const output = typeof text === 'string' ? [{ role: 'assistant', content: text }] : [];
  return { ...EMPTY_SAMPLE, output, ...sample };
}

export const itemObject = (item: EvalItem, run: EvalRun): EvalOutputItemObject =>
  withoutTexts(
    {
      id: outputItemId(run.id, item.number),
      object: 'eval.run.output_item',
      created_at: unix(item.done_at ?? new Date(0)),
      run_id: run.id,
      eval_id: run.eval_id,
      status: item.status as EvalOutputItemObject['status'],
      datasource_item_id: item.number,
      datasource_item: item.item,
      results: item.results,
      sample: sampleObject(item),
    },
    run,
  );
