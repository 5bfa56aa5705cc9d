// The real worker process with the small trainer.
import { fileURLToPath } from 'node:url';
import { runWorker } from '../dist/index.js';

await runWorker(process.argv.slice(2), {
  trainerMain: fileURLToPath(new URL('./small-trainer.mjs', import.meta.url)),
  backoff: { minMs: 50, maxMs: 200 },
});
