// vitest runs this in its main process before any spec. `npm test` has opened a run already (tools/setup.mjs); `npx vitest`
// has not. That run ends with this process.
import { openRun, RUN } from './run.mjs';

export function setup() {
  if (process.env[RUN] === undefined) Object.assign(process.env, openRun().env);
}
