import { lossText, type JobLedgerObject } from '@graft/contracts';
import { Option, type Command } from 'commander';
import { callOf } from '../command-line.js';
import { findJobId, jobPath } from '../find-job.js';
import { positiveInteger } from '../parse-number.js';
import { printable, table } from '../terminal.js';

const SHOWN = 60;

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
    .option('--limit <number>', 'so many at most, up to 500', positiveInteger, 20)
    .action(async (name: string, options: { order: string; limit: number }, command: Command) => {
      const { out, api } = callOf(command);
      const id = await findJobId(api(), name);
      const query = `order=${options.order}&limit=${options.limit}`;
      const ledger = await api().get<JobLedgerObject>(`${jobPath(id)}/ledger?${query}`);
      if (out.json) return out.value(ledger);
      if (ledger.examples === null)
        return out.line(
          `${name} has no loss ledger: it is of jobs with graft.loss_ledger, at their end`,
        );
      out.line(table(['LINE', 'LOSS', 'BASE', 'RECORD'], ledger.data.map(row)));
      out.note(`of ${ledger.examples} examples, ${lossText(ledger.mean_loss ?? NaN)} on average`);
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
