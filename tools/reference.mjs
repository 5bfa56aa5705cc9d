// Generates docs/reference from the sources: node tools/reference.mjs (after npm run build). reference.spec.mjs compares.
import 'reflect-metadata';
import { mkdirSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { apiDocument, apiPage } from './reference/api-page.mjs';
import { cliPage } from './reference/cli-page.mjs';
import { configurationPage } from './reference/configuration-page.mjs';
import { errorsPage } from './reference/errors-page.mjs';
import { methodsPage } from './reference/methods-page.mjs';
import { jobsPage, modelsPage } from './reference/models-page.mjs';
import { objectsPage } from './reference/objects-page.mjs';
import { tasksPage } from './reference/tasks-page.mjs';

const FOLDER = fileURLToPath(new URL('../docs/reference/', import.meta.url));

/** @returns {Promise<Record<string, string>>} the pages by file name */
export async function referencePages() {
  const { catalog } = await import('@graft/peft-core/catalog');
  const { ATTEMPT_CODES, ERROR_CODES } = await import('@graft/contracts');
  const contents = catalog();
  const api = await apiDocument();
  return {
    'api.md': apiPage(api),
    'cli.md': await cliPage(),
    'configuration.md': await configurationPage(),
    'errors.md': errorsPage({ codes: ERROR_CODES, attemptCodes: ATTEMPT_CODES }),
    'jobs.md': jobsPage(contents),
    'methods.md': methodsPage(contents),
    'models.md': modelsPage(contents),
    'objects.md': objectsPage(
      api.components.schemas,
      Object.keys(contents.graft_schema.properties).filter(
        (name) => !['pool', 'priority'].includes(name),
      ),
    ),
    'tasks.md': tasksPage(contents),
  };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  mkdirSync(FOLDER, { recursive: true });
  for (const [name, text] of Object.entries(await referencePages())) {
    writeFileSync(FOLDER + name, text);
    console.log(`docs/reference/${name}: ${(text.length / 1000).toFixed(0)} kB`);
  }
  process.exit(0);
}
