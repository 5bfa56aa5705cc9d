import { lossText, type CheckpointObject } from '@graft/contracts';
import type { Command } from 'commander';
import { callOf } from '../command-line.js';
import { findJobId } from '../find-job.js';
import { ago, bytes, table } from '../terminal.js';
import { checkpointsOf } from './download.js';

export function addCheckpoints(program: Command): void {
  program
    .command('checkpoints')
    .description('list the checkpoints that are kept of a job, newest first')
    .argument('<job>')
    .action(async (name: string, _options: unknown, command: Command) => {
      const { out, api } = callOf(command);
      const checkpoints = await checkpointsOf(api(), await findJobId(api(), name));
      if (out.json) return out.value(checkpoints);
      if (checkpoints.length === 0) return out.line(`${name} has no checkpoints`);
      const header = ['STEP', 'LOSS', 'VALIDATION', 'SIZE', 'AGE', 'MODEL'];
      out.line(table(header, checkpoints.map(row)));
      out.note(`graft download ${name} --step N saves one`);
    });
}

function row(checkpoint: CheckpointObject): string[] {
  const { metrics, graft } = checkpoint;
  const loss = (name: string): string => {
    const value = metrics[name];
    return value === undefined ? '' : lossText(value);
  };
  return [
    String(checkpoint.step_number),
    loss('train_loss'),
    `${loss('valid_loss')}${graft.best ? ' best' : ''}`,
    graft.usable ? bytes(graft.bytes) : '',
    ago(checkpoint.created_at),
    graft.usable ? checkpoint.fine_tuned_model_checkpoint : 'only to go on from',
  ];
}
