// Process that inspects untrusted models: the files of a base, the two files of an adapter, or a zip that
// should contain them. It returns what it finds.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { inspectAdapter, inspectModelFolder, type HfConfig } from '@graft/peft-core/catalog';
import { answer, fail, guard } from '../../sandbox/confined-guard.js';
import { BASE_CONFIG, CONFIG, WEIGHTS } from './adapter-files.js';
import { adapterEntries } from './adapter-zip.js';

guard();

function adapterIn(folder: string): ReturnType<typeof inspectAdapter> {
  const base = JSON.parse(readFileSync(join(folder, BASE_CONFIG), 'utf8')) as HfConfig;
  const files = { config: join(folder, CONFIG), weights: join(folder, WEIGHTS) };
  return inspectAdapter(files, base);
}

const OPERATIONS = { model: inspectModelFolder, adapter: adapterIn, zip: adapterEntries };

try {
  const [op, path] = process.argv.slice(2) as [keyof typeof OPERATIONS, string];
  await answer(() => OPERATIONS[op](path));
} catch (error) {
  fail(error);
}
