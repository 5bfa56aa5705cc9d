// A sweep without a worker, and each change of a sweep through its route.
import type { Change } from './eval-changes.js';
import { uploadChats, type TestApi } from '../fixture.js';

export const sweepOf = (file: string, pool = 'unserved') => ({
  model: 'tiny',
  training_file: file,
  graft: { pool },
  search: { algorithm: 'grid', parameters: { 'peft.peft_type': ['LORA', 'IA3'] } },
});

export function sweepChanges(
  api: () => TestApi,
  project: string,
): Readonly<Record<string, () => Change | Promise<Change>>> {
  const path = '/v1/sweeps';
  return {
    [`post ${path}`]: async () => {
      const body = sweepOf(await uploadChats(api()));
      return { path, body, type: 'sweep.created', project };
    },
    [`post ${path}/{id}/cancel`]: async () => {
      const { id } = await api().post<{ id: string }>('/sweeps', sweepOf(await uploadChats(api())));
      return { path: `${path}/${id}/cancel`, type: 'sweep.cancelled', target: id, project };
    },
  };
}
