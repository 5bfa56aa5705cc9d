// Reads whole zip files with an independent library.
import { buffer } from 'node:stream/consumers';
import { fromBufferPromise } from 'yauzl';

/** Contents by name, in archive order. */
export async function unzip(zip: Buffer): Promise<Map<string, Buffer>> {
  const files = new Map<string, Buffer>();
  const archive = await fromBufferPromise(zip);
  for await (const entry of archive.eachEntry())
    files.set(entry.fileName, await buffer(await archive.openReadStreamPromise(entry)));
  return files;
}
