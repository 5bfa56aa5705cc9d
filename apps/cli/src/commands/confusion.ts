import type { JobConfusionObject } from '@graft/contracts';
import type { Command } from 'commander';
import { callOf } from '../command-line/command-line.js';
import { findJobId, jobPath } from '../find/find-job.js';
import { positiveInteger } from '../command-line/parse-number.js';
import { printable, table } from '../output/terminal.js';

/** Pairs that are shown; --json has all. */
const SHOWN = 10;

export function addConfusion(program: Command): void {
  program
    .command('confusion')
    .description(
      'show how well a job tells each label of its validation data, and which it takes for which',
    )
    .argument('<job>')
    .option(
      '--step <number>',
      'the evaluation after this step, not that with the lowest loss',
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
          `${name} has told no labels: that is of jobs with one label for each input and validation data`,
        );
      if (found.classes.length > 0) out.line(table(RATED, found.classes.map(rated), out.width));
      const pairs = found.confused.slice(0, SHOWN);
      if (pairs.length > 0) out.line(table(CONFUSED, pairs.map(pair), out.width));
      const more = found.confused.length - pairs.length;
      const others = found.steps.filter((one) => one !== found.step_number);
      out.note(
        `after step ${found.step_number}, of ${found.full ? 'all' : 'a sample'} of the validation data` +
          (more > 0 ? `; ${more} more pairs: --json` : '') +
          (others.length > 0 ? `; others: --step ${inShort(others)}` : ''),
      );
    });
}

const RATED = ['LABEL', 'EXAMPLES', 'PRECISION', 'RECALL', 'F1'];
const CONFUSED = ['LABEL', 'TAKEN FOR', 'TIMES', 'LINES'];

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
