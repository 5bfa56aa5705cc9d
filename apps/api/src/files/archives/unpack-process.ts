// Process that unpacks untrusted files. It lists the contents of a zip of training data, or writes one file of a zip
// or the content of a gzip file to stdout.
import { createReadStream } from 'node:fs';
import { pipeline } from 'node:stream';
import { createGunzip } from 'node:zlib';
import { openPromise } from 'yauzl';
import { answer, fail, guard, write } from '../../sandbox/confined-guard.js';
import { isTar } from '../rows/format.js';
import { shardsOf } from './zip-contents.js';

const TAR_BLOCK = 512;

guard();

async function writeEntry(path: string, wanted: number): Promise<void> {
  const zip = await openPromise(path, { autoClose: false });
  let at = 0;
  for await (const entry of zip.eachEntry()) {
    if (at++ !== wanted) continue;
    const content = await zip.openReadStreamPromise(entry);
    for await (const chunk of content as AsyncIterable<Buffer>) await write(chunk);
    break;
  }
  zip.close();
}

/** Writes the content of a gzip file, or nothing if that is not a tar. */
async function writeTar(path: string): Promise<void> {
  const unpacking = createGunzip();
  // An error of either stream ends both and the loop.
  pipeline(createReadStream(path), unpacking, () => undefined);
  let head: Buffer | null = Buffer.alloc(0);
  try {
    for await (const chunk of unpacking as AsyncIterable<Buffer>) {
      if (head === null) await write(chunk);
      else if ((head = Buffer.concat([head, chunk])).length >= TAR_BLOCK) {
        if (!isTar(head)) return;
        await write(head);
        head = null;
      }
    }
  } catch (error) {
    if (!String((error as NodeJS.ErrnoException).code).startsWith('Z_')) throw error;
    throw new Error('it is damaged or truncated', { cause: error });
  }
}

try {
  const [op, ...given] = process.argv.slice(2) as ['shards' | 'entry' | 'tar', ...string[]];
  const path = given.at(-1) as string;
  if (op === 'shards') await answer(() => shardsOf(path));
  else if (op === 'entry') await writeEntry(path, Number(given[0]));
  else await writeTar(path);
} catch (error) {
  fail(error);
}
