import type { JobObject } from '@graft/contracts';
import { useNavigate } from '@tanstack/react-router';
import { api } from '../api/api.js';
import { fieldsOf } from '../forms/schema-fields.js';
import { retryBody, type Fix } from '../job/fixes.js';

/** Returns a function that starts a copy of a job with a change, and opens it. */
export function useRetry(onError: (error: Error) => void) {
  const navigate = useNavigate();
  return async (job: JobObject, fix: Fix, opens = true): Promise<JobObject | null> => {
    try {
      const options = fieldsOf((await api.catalog()).graft_schema).map(({ name }) => name);
      const made = await api.createJob(retryBody(job, options, fix));
      if (opens) void navigate({ to: '/jobs/$id', params: { id: made.id } });
      return made;
    } catch (error) {
      onError(error as Error);
      return null;
    }
  };
}

/** No change: an identical job, whose result must be the same. */
export const UNCHANGED: Fix = { label: 'Run an identical job', apply: (body) => body };

/** The change that queues a job in another pool. */
export const inPool = (pool: string): Fix => ({
  label: `Use pool ${pool}`,
  apply: (body) => ({ ...body, graft: { ...(body['graft'] as object), pool } }),
});
