import type { ModelObject, Page } from '@graft/contracts';
import { CliError, EXIT } from '../cli-error.js';
import type { Api } from '../client/api.js';
import type { Found } from './found.js';
import { ImportSession, type ImportOptions } from './import-session.js';
import { ImportedEvals } from './imported-evals.js';
import { importJob } from './imported-jobs.js';
import type { Outcome } from './outcome.js';
import { GRAFT } from '../called.js';

/**
 * Imports the found objects, one at a time. An item that fails does not stop the rest.
 * @param report is called with each outcome
 */
export async function importFound(
  api: Api,
  found: Found,
  options: ImportOptions,
  report: (outcome: Outcome) => void,
): Promise<readonly Outcome[]> {
  const session = new ImportSession(api, found, options, report);
  await checkModels(session);
  for (const file of found.data) await session.file(file);
  await new ImportedEvals(session).run();
  for (const job of found.jobs) await importJob(session, job);
  for (const { path, value } of found.others)
    session.add({ kind: 'other', name: path, state: 'no counterpart', id: null, notes: [value] });
  return session.outcomes;
}

/** @throws CliError if the options name a model that does not exist */
async function checkModels({ api, options }: ImportSession): Promise<void> {
  const { map, model } = options;
  const named = [...new Set([...Object.values(map), ...(model === null ? [] : [model])])];
  if (named.length === 0) return;
  const models = await api.get<Page<ModelObject>>('/models');
  const missing = named.find((name) => !models.data.some(({ id }) => id === name));
  if (missing !== undefined)
    throw new CliError(`no model named ${missing}; see ${GRAFT} models`, EXIT.usage);
}
