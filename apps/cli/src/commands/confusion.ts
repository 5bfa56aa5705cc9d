import type { JobConfusionObject } from '@graft/contracts';
import type { Command } from 'commander';
import { callOf } from '../command-line/command-line.js';
import { findJobId, jobPath } from '../find/find-job.js';
import { positiveInteger } from '../command-line/parse-number.js';
import { printable, table } from '../output/terminal.js';

/** Maximum number of pairs to print; --json has all. */
const SHOWN = 10;

export function addConfusion(program: Command): void {
  program
    .command('confusion')
    .description('Show per-label accuracy and the confusion matrix')
    .argument('<job>')
    .option(
      '--step <number>',
      'evaluation at this step (default: the one with the lowest loss)',
      positiveInteger,
    )
    .action(async (name: string, { step }: { step?: number }, command: Command) => {
      const { out, api } = callOf(command);
      const id = await findJobId(api(), name);
      const query = step ? `?step=${step}` : '';
      const found = await api().get<JobConfusionObject>(`${jobPath(id)}/confusion${query}`);
      if (out.json) return out.value(found);
      if (found.step_number === null)
        return out.line(
          `${name} has no confusion matrix; it needs a task with one label per input, and validation data`,
        );
      if (found.classes.length > 0)
        out.line(table(RATED, found.classes.map(rated), { width: out.width }));
      const pairs = found.confused.slice(0, SHOWN);
      if (pairs.length > 0) out.line(table(CONFUSED, pairs.map(pair), { width: out.width }));
      const more = found.confused.length - pairs.length;
      const others = found.steps.filter((one) => one !== found.step_number);
      out.note(
        `step ${found.step_number}, on ${found.full ? 'all' : 'a sample'} of the validation data` +
          (more > 0 ? `; ${more} more pairs with --json` : '') +
          (others.length > 0 ? `; other evaluations: --step ${inShort(others)}` : ''),
      );
    });
}

const RATED = ['LABEL', 'EXAMPLES', 'PRECISION', 'RECALL', 'F1'];
const CONFUSED = ['LABEL', 'PREDICTED', 'COUNT', 'LINES'];

const share = (value: number | null): string => (value === null ? '–' : value.toFixed(3));

type Rated = JobConfusionObject['classes'][number];
const rated = ({ label, support, precision, recall, f1 }: Rated): string[] => [
  printable(label),
  String(support),
  ...[precision, recall, f1].map(share),
];

type Pair = JobConfusionObject['confused'][number];
const pair = ({ label, predicted, count, lines }: Pair): string[] => [
  printable(label),
  printable(predicted),
  String(count),
  lines.join(', ') || '–',
];

const inShort = (steps: readonly number[]): string =>
  steps.length > 5 ? `${steps.slice(0, 5).join(', ')}, …` : steps.join(' or ');
