import { existsSync } from 'node:fs';
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { ExampleData } from './example.js';

export type Medium = 'image' | 'audio';

/** File with one held-out image or audio clip, to try the model. */
export const SINGLE_FILE = { image: 'held-out.png', audio: 'held-out.wav' } as const;

/** Image or audio clip as a data URL, with its label. */
export type Labelled<M extends Medium> = Readonly<Record<M, string>> & { readonly label: string };

export type LabelledHeldOut<M extends Medium> = Labelled<M> & { readonly shown: string };

interface LabelledData<M extends Medium> {
  readonly medium: M;
  /** Prefix of the file names. */
  readonly name: string;
  /** Creates the data if the folder does not exist. */
  readonly make: () => Promise<{
    readonly train: readonly Labelled<M>[];
    readonly heldOut: readonly Labelled<M>[];
  }>;
}

/** Writes labelled images or audio clips to two files in `folder`, which is created completely or not at all. */
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
