// Creates an eval with finished runs on given answers, for specs of pages.
import { until, type TestApi } from '../../apps/api/test/fixture.js';

const CRITERIA = [
  {
    type: 'string_check',
    name: 'same as expected',
    operation: 'eq',
    input: '{{sample.output_text}}',
    reference: '{{item.answer}}',
  },
  {
    type: 'text_similarity',
    name: 'near',
    evaluation_metric: 'fuzzy_match',
    input: '{{sample.output_text}}',
    reference: '{{item.answer}}',
    pass_threshold: 0.6,
  },
];

export interface GradedEval {
  readonly id: string;
  /** Ids of the runs, in the order of `answers`. */
  readonly runs: readonly string[];
}

/** @param answers for each run, by its name: one answer per word */
export async function makeGraded(
  api: TestApi,
  name: string,
  words: readonly string[],
  answers: Readonly<Record<string, readonly string[]>>,
): Promise<GradedEval> {
  const { id } = await api.post<{ id: string }>('/evals', {
    name,
    metadata: { team: 'ads' },
    data_source_config: {
      type: 'custom',
      item_schema: { type: 'object', required: ['word', 'answer'] },
      include_sample_schema: true,
    },
    testing_criteria: CRITERIA,
  });
  const runs: string[] = [];
  for (const [run, texts] of Object.entries(answers)) {
    const content = words.map((word, n) => ({
      item: { word, answer: word.toUpperCase() },
      sample: { output_text: texts[n] ?? '' },
    }));
    const source = { type: 'jsonl', source: { type: 'file_content', content } };
    const made = await api.post<{ id: string }>(`/evals/${id}/runs`, {
      name: run,
      data_source: source,
    });
    runs.push(made.id);
  }
  await until(async () => {
    const { data } = await api.get<{ data: { status: string }[] }>(`/evals/${id}/runs`);
    return data.every(({ status }) => status === 'completed');
  });
  return { id, runs };
}
