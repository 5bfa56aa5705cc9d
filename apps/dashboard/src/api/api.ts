import { evalsApi } from './evals.js';
import { filesApi } from './files.js';
import { integrationsApi } from './integrations.js';
import { jobsApi } from './jobs.js';
import { modelsApi } from './models.js';
import { operateApi } from './operate.js';
import { projectsApi } from './projects.js';
import { proofApi } from './proof.js';
import { workersApi } from './workers.js';

/** Client of the API. Every request of the dashboard is a method of one of its parts. */
export const api = {
  ...jobsApi,
  ...proofApi,
  ...filesApi,
  ...modelsApi,
  ...evalsApi,
  ...workersApi,
  ...projectsApi,
  ...integrationsApi,
  ...operateApi,
};
