import { existsSync } from 'node:fs';
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { ExampleData } from './example.js';

export interface Labelled {
  readonly label: string;
}

export interface LabelledData<T extends Labelled> {
  /** What its files' names begin with. */
  readonly name: string;
  /** The file of a held-out example by itself, to try, */
  readonly one: string;
  /** and the data URL that it is made of. */
  readonly mediaOf: (example: T) => string;
  /** Called where the folder is not there yet. */
  readonly make: () => Promise<{ readonly train: readonly T[]; readonly heldOut: readonly T[] }>;
}

/** Labelled pictures or sounds as two files in `folder`, which is there whole or not at all. */
export async function labelledData<T extends Labelled>(
  folder: string,
  { name, one, mediaOf, make }: LabelledData<T>,
): Promise<ExampleData<T & { readonly shown: string }>> {
  const files = { train: `${name}-train.jsonl`, heldOut: `${name}-held-out.jsonl` };
  if (!existsSync(folder)) {
    const { train, heldOut } = await make();
    const partial = `${folder}.part`;
    await mkdir(partial, { recursive: true });
    await writeFile(join(partial, files.train), linesOf(train));
    await writeFile(join(partial, files.heldOut), linesOf(heldOut));
    const [, base64 = ''] = heldOut[0] ? mediaOf(heldOut[0]).split(',') : [];
    await writeFile(join(partial, one), Buffer.from(base64, 'base64'));
    await rename(partial, folder);
  }
  const heldOutFile = join(folder, files.heldOut);
  const lines = (await readFile(heldOutFile, 'utf8')).trimEnd().split('\n');
  const heldOut = lines.map((line, at) => ({
    ...(JSON.parse(line) as T),
    shown: `line ${at + 1} of ${files.heldOut}`,
  }));
  return { trainFile: join(folder, files.train), heldOutFile, heldOut };
}

const linesOf = (examples: readonly Labelled[]): string =>
  examples.map((one) => `${JSON.stringify(one)}\n`).join('');
