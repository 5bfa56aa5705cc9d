// A process that reads an archive of pictures or sounds and writes its records as JSON Lines on its output, and on stderr
// what it has to say of the whole.
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
