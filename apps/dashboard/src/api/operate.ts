import type { InferenceUsagePage, Page, ProblemObject, TrainingUsagePage } from '@graft/contracts';
import { get } from './request.js';

interface UsagePage<Bucket> {
  readonly data: readonly Bucket[];
  readonly next_page: string | null;
}

/** Loads the buckets of all pages. */
async function buckets<Bucket>(kind: string, query: URLSearchParams): Promise<readonly Bucket[]> {
  const found: Bucket[] = [];
  let next: string | null = null;
  do {
    const page: UsagePage<Bucket> = await get<UsagePage<Bucket>>(
      `/organization/usage/${kind}?${query.toString()}${next === null ? '' : `&page=${next}`}`,
    );
    found.push(...page.data);
    next = page.next_page;
  } while (next !== null);
  return found;
}

export const operateApi = {
  problems: async () => (await get<Page<ProblemObject>>('/problems')).data,
  trainingUsage: (query: URLSearchParams) =>
    buckets<TrainingUsagePage['data'][number]>('training', query),
  inferenceUsage: (query: URLSearchParams) =>
    buckets<InferenceUsagePage['data'][number]>('inference', query),
};
