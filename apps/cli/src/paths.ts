import { fileURLToPath } from 'node:url';

// This file and its bundle are equally deep, so these paths hold in both.

/** The API's program. */
export const API_MAIN = at('../../api/bundle/main.js');
/** The worker's program. */
export const WORKER_MAIN = at('../../worker/bundle/main.js');
/** The worker's program for a run without a server. */
export const RUN_MAIN = at('../../worker/bundle/run/main.js');
/** The built dashboard. */
export const DASHBOARD = at('../../dashboard/dist');

function at(path: string): string {
  return fileURLToPath(new URL(path, import.meta.url));
}
