import type { ModelObject } from '@graft/contracts';
import type { Api } from './api.js';

/** How to try a model: what writes no text is not chatted with. */
export async function useCommand(api: Api, model: string): Promise<string> {
  const { graft } = await api
    .get<Partial<ModelObject>>(`/models/${model}`)
    .catch((): Partial<ModelObject> => ({}));
  const use = graft?.uses[0] ?? 'chat';
  return use === 'transcribe' ? `graft transcribe FILE --model ${model}` : `graft ${use} ${model}`;
}
