// Worker whose trainers run poison-trainer.mjs. A trainer that is silent for $GRAFT_TEST_HANG_MS counts as
// hanging. If $GRAFT_TEST_DIR is set, the trainers look for the files `hold` and `pace` in that folder.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { runWorker } from '@graft/worker';

const poison = new URL('./poison-trainer.mjs', import.meta.url);
const { GRAFT_TEST_HANG_MS, GRAFT_TEST_DIR: dir } = process.env;
const hangMs = Number(GRAFT_TEST_HANG_MS);
const trainerMain = dir ? withFolder(dir) : fileURLToPath(poison);
await runWorker(process.argv.slice(2), { trainerMain, ...(hangMs > 0 ? { hangMs } : {}) });

/** Returns a script that sets the variable first, because a trainer does not inherit the environment. */
function withFolder(dir) {
  const path = join(dir, 'poison-main.mjs');
  const variable = `process.env.GRAFT_TEST_DIR = ${JSON.stringify(dir)};\n`;
  writeFileSync(path, `${variable}await import(${JSON.stringify(poison.href)});\n`);
  return path;
}
