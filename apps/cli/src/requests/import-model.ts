import { setTimeout as sleep } from 'node:timers/promises';
import type { ModelObject } from '@graft/contracts';
import { CliError } from '../cli-error.js';
import type { Api } from '../client/api.js';
import { bar, printable, type Output } from '../output/terminal.js';

/** Imports a base model and shows the progress until it is ready. */
export async function importModel(
  api: Api,
  request: { readonly source: string; readonly id?: string },
  out: Output,
): Promise<ModelObject> {
  const { source } = request;
  let model = await api.post<ModelObject>('/models', request);
  while (model.graft?.status === 'importing') {
    const fraction = model.graft.progress ?? 0;
    out.draw(`Importing ${model.id} ${bar(fraction)} ${Math.round(fraction * 100)} %`);
    await sleep(400);
    model = await api.get<ModelObject>(`/models/${encodeURIComponent(model.id)}`);
  }
  out.draw('');
  if (model.graft?.status === 'error') {
    throw new CliError(
      `import of ${source} failed: ${printable(model.graft.status_details ?? 'no reason given')}`,
    );
  }
  return model;
}
