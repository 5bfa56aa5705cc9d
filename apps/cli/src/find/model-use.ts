import type { ModelObject } from '@graft/contracts';
import type { Api } from '../client/api.js';
import { GRAFT } from '../called.js';

/** Command that tries a model, depending on its task. Null for exports, which other programs run. */
export async function useCommand(api: Api, model: string): Promise<string | null> {
  const { graft } = await api
    .get<Partial<ModelObject>>(`/models/${model}`)
    .catch((): Partial<ModelObject> => ({}));
  if (graft?.kind === 'export') return null;
  const use = graft?.uses[0] ?? 'chat';
  return use === 'transcribe'
    ? `${GRAFT} transcribe FILE --model ${model}`
    : `${GRAFT} ${use} ${model}`;
}
