import type { ModelObject } from '@graft/contracts';
import type { Api } from '../client/api.js';

/** Command that tries a model, depending on its task. Null for exports, which other programs run. */
export async function useCommand(api: Api, model: string): Promise<string | null> {
  const { graft } = await api
    .get<Partial<ModelObject>>(`/models/${model}`)
    .catch((): Partial<ModelObject> => ({}));
  if (graft?.kind === 'export') return null;
  const use = graft?.uses[0] ?? 'chat';
  return use === 'transcribe' ? `graft transcribe FILE --model ${model}` : `graft ${use} ${model}`;
}
