import { basename } from 'node:path';
import type { Command } from 'commander';
import { CliError, EXIT } from '../cli-error.js';
import { findModel } from '../find/find-model.js';
import { callOf } from '../command-line/command-line.js';
import { ofFiles } from '../requests/media-files.js';
import { printable, table } from '../output/terminal.js';

interface Embedding {
  readonly embedding: readonly number[];
}

/** Elements of a vector to print. */
const SHOWN = 4;

export function addEmbed(program: Command): void {
  program
    .command('embed')
    .description('Embed text or images')
    .argument('<model>', 'base model, or model or job that was trained for embeddings')
    .argument('[text...]')
    .option('--image <file...>', 'image files, if the model reads images')
    .action(async (name: string, texts: string[], options: Options, command: Command) => {
      const { out, api } = callOf(command);
      const { image = [] } = options;
      if (texts.length + image.length === 0)
        throw new CliError('specify a text or --image FILE', EXIT.usage);
      const model = await findModel(api(), name);
      const ofTexts = async (input: readonly string[]) =>
        (await api().post<{ data: readonly Embedding[] }>('/embeddings', { model, input })).data;
      const vectors = [
        ...(texts.length > 0 ? await ofTexts(texts) : []),
        ...(await ofFiles<Embedding>(api(), '/embeddings', model, image)),
      ].map(({ embedding }) => embedding);
      if (out.json) return out.value(vectors);
      const named = [...texts, ...image.map((path) => basename(path))];
      const [first = []] = vectors;
      const rows = vectors.map((vector, i) => [
        printable(named[i] ?? ''),
        cosine(first, vector).toFixed(3),
        inShort(vector),
      ]);
      out.line(table(['INPUT', 'COSINE', 'VECTOR'], rows, { width: out.width }));
    });
}

interface Options {
  readonly image?: readonly string[];
}

/** Cosine similarity of two unit vectors. */
const cosine = (a: readonly number[], b: readonly number[]): number =>
  a.reduce((sum, value, i) => sum + value * (b[i] ?? 0), 0);

const inShort = (vector: readonly number[]): string =>
  `${vector
    .slice(0, SHOWN)
    .map((value) => value.toFixed(3))
    .join(' ')} … (${vector.length})`;
