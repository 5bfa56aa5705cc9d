#!/usr/bin/env node
import { runWorker } from './agent/worker.js';

await runWorker(process.argv.slice(2));
