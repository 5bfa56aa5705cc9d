// Groups of the models page.
import type { ModelObject } from '@graft/contracts';
import { operationTitle } from '@graft/contracts/job-kinds';
import { modelTitle } from '../format.js';

export interface ModelLists {
  /** Base models, including those that are being imported. */
  readonly bases: readonly ModelObject[];
  /** Imports that failed. */
  readonly failed: readonly ModelObject[];
  /** Adapters and fully fine-tuned models, newest first. */
  readonly tuned: readonly ModelObject[];
  /** Downloads for other programs. */
  readonly exports: readonly ModelObject[];
}

const newestFirst = (a: ModelObject, b: ModelObject): number => b.created - a.created;

/** Sorts models into the groups of the page. */
export function modelLists(models: readonly ModelObject[], search = ''): ModelLists {
  const words = search.toLowerCase().split(/\s+/).filter(Boolean);
  const found = models
    .filter(({ id, graft }) => {
      const all =
        `${id} ${modelTitle(id)} ${graft?.base ?? ''} ${graft?.family ?? ''}`.toLowerCase();
      return words.every((word) => all.includes(word));
    })
    .sort(newestFirst);
  const isOf =
    (...kinds: readonly string[]) =>
    ({ graft }: ModelObject) =>
      kinds.includes(graft?.kind ?? 'base');
  const bases = found.filter(isOf('base'));
  const hasFailed = ({ graft }: ModelObject): boolean => graft?.status === 'error';
  return {
    bases: bases.filter((model) => !hasFailed(model)),
    failed: bases.filter(hasFailed),
    tuned: found.filter(isOf('adapter', 'full')),
    exports: found.filter(isOf('export')),
  };
}

/** Returns the origin of a model: "LoRA merge of pirate" or "trained, all parameters". */
export function originText({ graft }: ModelObject): string {
  const { kind, operation } = graft ?? {};
  if (operation)
    return `${operationTitle(operation)} of ${operation.adapters.map(modelTitle).join(', ')}`;
  return kind === 'full' ? 'Trained, all parameters' : 'Trained adapter';
}

/** Returns the consequences of deleting a model. */
export const deletionText = (model: ModelObject): string =>
  model.graft?.kind === 'base'
    ? `Delete the base model ${model.id}? It cannot be trained on or chatted with until it is imported again. A base that a job or fine-tuned model uses cannot be deleted.`
    : `Delete ${modelTitle(model.id)}? Programs that use the name ${model.id} will get an error. This cannot be undone. The files and checkpoints of its job are kept.`;
