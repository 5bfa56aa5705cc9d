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
    .description('Show the training examples a job learned worst')
    .argument('<job>')
    .addOption(
      new Option(
        '--order <order>',
        'worst: by loss; least_learnt: by smallest improvement over the base model',
      )
        .choices(['worst', 'least_learnt'])
        .default('worst'),
    )
    .option('--step <number>', 'ledger at this step (the end of an epoch)', positiveInteger)
    .option('--limit <number>', 'maximum number to show, at most 500', positiveInteger, 20)
    .action(async (name: string, options: LedgerOptions, command: Command) => {
      const { out, api } = callOf(command);
      const id = await findJobId(api(), name);
      const { order, limit, step } = options;
      const query = `order=${order}&limit=${limit}${step ? `&step=${step}` : ''}`;
      const ledger = await api().get<JobLedgerObject>(`${jobPath(id)}/ledger?${query}`);
      if (out.json) return out.value(ledger);
      if (ledger.examples === null)
        return out.line(
          `${name} has no loss ledger; it is written at the end of jobs with graft.loss_ledger`,
        );
      out.line(
        table(['LINE', 'LOSS', 'BASE', 'RECORD'], ledger.data.map(row), { width: out.width }),
      );
      const other = ledger.steps.filter((one) => one !== ledger.step_number);
      out.note(
        `${ledger.examples} examples at step ${ledger.step_number}, mean loss ${lossText(ledger.mean_loss ?? NaN)}` +
          (other.length > 0 ? `; other steps: --step ${other.join(' or ')}` : ''),
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
