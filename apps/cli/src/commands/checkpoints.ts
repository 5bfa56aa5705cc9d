import type { CheckpointObject } from '@graft/contracts';
import { EVAL_SCORE } from '@graft/contracts/evals';
import { lossText } from '@graft/contracts/loss-text';
import type { Command } from 'commander';
import { callOf } from '../command-line/command-line.js';
import { checkpointsOf } from '../find/find-checkpoint.js';
import { findJob } from '../find/find-job.js';
import { ago, bytes, table } from '../output/terminal.js';
import { GRAFT } from '../called.js';

export function addCheckpoints(program: Command): void {
  program
    .command('checkpoints')
    .description('List the checkpoints of a job, newest first')
    .argument('<job>')
    .action(async (name: string, _options: unknown, command: Command) => {
      const { out, api } = callOf(command);
      const job = await findJob(api(), name);
      const checkpoints = await checkpointsOf(api(), job.id);
      if (out.json) return out.value(checkpoints);
      if (checkpoints.length === 0) return out.line(`${name} has no checkpoints`);
      const missing = job.graft.eval === undefined ? '' : NOT_SCORED;
      const scored =
        missing !== '' || checkpoints.some(({ metrics }) => metrics[EVAL_SCORE] !== undefined);
      const score = scored ? ['SCORE'] : [];
      const header = ['STEP', 'LOSS', 'VALIDATION', ...score, 'SIZE', 'AGE', 'MODEL'];
      out.line(
        table(
          header,
          checkpoints.map((one) => row(one, scored, missing)),
          { width: out.width },
        ),
      );
      out.note(`Download one: ${GRAFT} download ${name} --step N`);
    });
}

/** The eval runs after the checkpoint is saved, so the newest one may be without a score for a while. */
const NOT_SCORED = 'not yet';

/**
 * @param scored whether the table has a score column, which then marks the best checkpoint instead of the loss column
 * @param missing text in place of a score
 */
function row(checkpoint: CheckpointObject, scored: boolean, missing: string): string[] {
  const { metrics, graft } = checkpoint;
  const text = (name: string, write: (value: number) => string): string => {
    const value = metrics[name];
    return value === undefined ? '' : write(value);
  };
  const best = graft.best ? ' best' : '';
  const validation = text('valid_loss', lossText);
  const score = text(EVAL_SCORE, (share) => `${Math.round(100 * share)} %`) || missing;
  return [
    String(checkpoint.step_number),
    text('train_loss', lossText),
    ...(scored ? [validation, `${score}${best}`] : [`${validation}${best}`]),
    graft.usable ? bytes(graft.bytes) : '',
    ago(checkpoint.created_at),
    graft.usable ? checkpoint.fine_tuned_model_checkpoint : 'for resuming only',
  ];
}
