import { runLocal } from './run.js';

process.exitCode = await runLocal(process.argv.slice(2));
