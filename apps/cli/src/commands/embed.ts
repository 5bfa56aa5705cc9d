import type { Command } from 'commander';
import { callOf } from '../command-line.js';
import { printable, table } from '../terminal.js';

interface Embeddings {
  readonly data: readonly { readonly embedding: readonly number[] }[];
}

/** Numbers of a vector that a line shows. */
const SHOWN = 4;

export function addEmbed(program: Command): void {
  program
    .command('embed')
    .description('vectors of texts, and how near each is to the first; --json prints them whole')
    .argument('<model>', 'a base, or a model trained for feature_extraction')
    .argument('<text...>')
    .action(async (model: string, input: string[], _options: object, command: Command) => {
      const { out, api } = callOf(command);
      const { data } = await api().post<Embeddings>('/embeddings', { model, input });
      const vectors = data.map(({ embedding }) => embedding);
      if (out.json) return out.value(vectors);
      const [first = []] = vectors;
      const rows = vectors.map((vector, i) => [
        printable(input[i] ?? ''),
        cosine(first, vector).toFixed(3),
        inShort(vector),
      ]);
      out.line(table(['TEXT', 'COSINE', 'VECTOR'], rows, out.width));
    });
}

/** Of vectors of length 1. */
const cosine = (a: readonly number[], b: readonly number[]): number =>
  a.reduce((sum, value, i) => sum + value * (b[i] ?? 0), 0);

const inShort = (vector: readonly number[]): string =>
  `${vector
    .slice(0, SHOWN)
    .map((value) => value.toFixed(3))
    .join(' ')} … (${vector.length})`;
