import type { BatchObject } from '@graft/contracts';
import type { Api } from '../client/api.js';
import { oneNamed } from './one-named.js';
import { GRAFT } from '../called.js';

/** Finds a batch by its id or a prefix of the id. */
export async function findBatch(api: Api, id: string): Promise<BatchObject> {
  if (/^batch_\w{20,}$/.test(id)) return api.get<BatchObject>(batchPath(id));
  const all = await api.all<BatchObject>('/batches');
  const named = all.map((one) => ({ ...one, name: one.id }));
  return oneNamed(named, id, 'batch', `${GRAFT} batches`);
}

export const batchPath = (id: string): string => `/batches/${encodeURIComponent(id)}`;
