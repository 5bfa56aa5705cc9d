// Vitest runs this in its main process before all specs. It opens a run if `npm test` has not (tools/setup.mjs), as with
// `npx vitest`. That run ends with this process.
import { openRun, RUN } from './run.mjs';

export function setup() {
  if (process.env[RUN] === undefined) Object.assign(process.env, openRun().env);
}
