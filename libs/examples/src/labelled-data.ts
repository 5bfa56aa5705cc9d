import { existsSync } from 'node:fs';
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { ExampleData } from './example.js';

export type Medium = 'image' | 'audio';

/** The file of a held-out picture or sound by itself, to try. */
export const SINGLE_FILE = { image: 'held-out.png', audio: 'held-out.wav' } as const;

/** A picture or a sound as a data URL, and its label. */
export type Labelled<M extends Medium> = Readonly<Record<M, string>> & { readonly label: string };

export type LabelledHeldOut<M extends Medium> = Labelled<M> & { readonly shown: string };

interface LabelledData<M extends Medium> {
  readonly medium: M;
  /** What its files' names begin with. */
  readonly name: string;
  /** Called when the folder is not there yet. */
  readonly make: () => Promise<{
    readonly train: readonly Labelled<M>[];
    readonly heldOut: readonly Labelled<M>[];
  }>;
}

/** Labelled pictures or sounds as two files in `folder`, which is there whole or not at all. */
export async function labelledData<M extends Medium>(
  folder: string,
  { medium, name, make }: LabelledData<M>,
): Promise<ExampleData<LabelledHeldOut<M>>> {
  const files = { train: `${name}-train.jsonl`, heldOut: `${name}-held-out.jsonl` };
  if (!existsSync(folder)) {
    const { train, heldOut } = await make();
    const partial = `${folder}.part`;
    await mkdir(partial, { recursive: true });
    await writeFile(join(partial, files.train), linesOf(train));
    await writeFile(join(partial, files.heldOut), linesOf(heldOut));
    const [, base64 = ''] = heldOut[0]?.[medium].split(',') ?? [];
    await writeFile(join(partial, SINGLE_FILE[medium]), Buffer.from(base64, 'base64'));
    await rename(partial, folder);
  }
  const heldOutFile = join(folder, files.heldOut);
  const lines = (await readFile(heldOutFile, 'utf8')).trimEnd().split('\n');
  const heldOut = lines.map((line, at) => ({
    ...(JSON.parse(line) as Labelled<M>),
    shown: `line ${at + 1} of ${files.heldOut}`,
  }));
  return { trainFile: join(folder, files.train), heldOutFile, heldOut };
}

const linesOf = (examples: readonly unknown[]): string =>
  examples.map((one) => `${JSON.stringify(one)}\n`).join('');
