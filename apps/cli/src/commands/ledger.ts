import type { JobLedgerObject } from '@graft/contracts';
import { lossText } from '@graft/contracts/loss-text';
import { Option, type Command } from 'commander';
import { callOf } from '../command-line/command-line.js';
import { findJobId, jobPath } from '../find/find-job.js';
import { positiveInteger } from '../command-line/parse-number.js';
import { printable, table } from '../output/terminal.js';

const SHOWN = 60;

interface LedgerOptions {
  readonly order: string;
  readonly limit: number;
  readonly step?: number;
}

export function addLedger(program: Command): void {
  program
    .command('ledger')
    .description(
      'show which training examples a job (with graft.loss_ledger) has learnt worst, with their lines in the training file',
    )
    .argument('<job>')
    .addOption(
      new Option(
        '--order <order>',
        'by their loss, or by how little it fell below that of the base',
      )
        .choices(['worst', 'least_learnt'])
        .default('worst'),
    )
    .option('--step <number>', 'the one after this step, of an epoch', positiveInteger)
    .option('--limit <number>', 'so many at most, up to 500', positiveInteger, 20)
    .action(async (name: string, options: LedgerOptions, command: Command) => {
      const { out, api } = callOf(command);
      const id = await findJobId(api(), name);
      const { order, limit, step } = options;
      const query = `order=${order}&limit=${limit}${step ? `&step=${step}` : ''}`;
      const ledger = await api().get<JobLedgerObject>(`${jobPath(id)}/ledger?${query}`);
      if (out.json) return out.value(ledger);
      if (ledger.examples === null)
        return out.line(
          `${name} has no loss ledger: it is of jobs with graft.loss_ledger, at their end`,
        );
      out.line(table(['LINE', 'LOSS', 'BASE', 'RECORD'], ledger.data.map(row)));
      const other = ledger.steps.filter((one) => one !== ledger.step_number);
      out.note(
        `of ${ledger.examples} examples after step ${ledger.step_number}, ${lossText(ledger.mean_loss ?? NaN)} on average` +
          (other.length > 0 ? `; there are others: --step ${other.join(' or ')}` : ''),
      );
    });
}

const row = ({
  line,
  loss,
  base_loss: base,
  record,
}: JobLedgerObject['data'][number]): string[] => [
  String(line),
  lossText(loss ?? NaN),
  base === null ? '' : lossText(base),
  printable(record ?? '').slice(0, SHOWN),
];
