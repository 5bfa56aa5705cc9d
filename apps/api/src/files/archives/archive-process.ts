// Process that reads an archive of images or audio. It writes its records as JSON Lines to stdout, and the remarks
// about the archive to stderr.
import { fail, guard, write } from '../../sandbox/confined-guard.js';
import { MediaRecords } from './media-records.js';

guard();

try {
  const [container, path] = process.argv.slice(2) as ['tar' | 'zip', string];
  const records = new MediaRecords(container, path);
  for await (const record of records.read()) await write(`${JSON.stringify(record)}\n`);
  process.stderr.write(`\n${JSON.stringify({ layout: records.layout, notes: records.notes })}`);
} catch (error) {
  fail(error);
}
