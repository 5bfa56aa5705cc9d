import type { JobSampleObject } from '@graft/contracts';
import type { Command } from 'commander';
import { CliError, EXIT } from '../cli-error.js';
import { callOf } from '../command-line/command-line.js';
import { findJobId, jobPath } from '../find/find-job.js';
import { printable } from '../output/terminal.js';

export function addSamples(program: Command): void {
  program
    .command('samples')
    .description("Show a job's answers to its sample prompts by step")
    .argument('<job>')
    .option('--prompt <number>', 'only this prompt, counted from 1')
    .action(async (name: string, options: { prompt?: string }, command: Command) => {
      const { out, api } = callOf(command);
      const id = await findJobId(api(), name);
      const newest = await api().all<JobSampleObject>(`${jobPath(id)}/samples`);
      if (out.json) return out.value(newest);
      const steps = newest.toReversed();
      const [first] = steps;
      if (first === undefined)
        return out.line(
          `${name} has no samples; create the job with graft.sample_prompts to get them`,
        );
      const chosen = first.data.map((_, i) => i).filter((i) => isSelected(options.prompt, i));
      if (chosen.length === 0)
        throw new CliError(
          `--prompt: expected a number from 1 to ${first.data.length}, got ${options.prompt}`,
          EXIT.usage,
        );
      for (const i of chosen) out.line(card(steps, i));
    });
}

const isSelected = (prompt: string | undefined, i: number): boolean =>
  prompt === undefined || prompt === String(i + 1);

/** Prompt, followed by the answer at each step. */
function card(steps: readonly JobSampleObject[], i: number): string {
  const prompt = steps[0]?.data[i]?.prompt ?? '';
  const promptText =
    typeof prompt === 'string'
      ? prompt
      : prompt.map(({ role, content }) => `${role}: ${content}`).join('\n');
  const answers = steps.map(({ step_number: step, data }) => {
    const { text = '', finish_reason: reason } = data[i] ?? {};
    return `  step ${step}: ${indented(text)}${reason === 'length' ? '…' : ''}`;
  });
  return [`${i + 1}. ${indented(promptText)}`, ...answers, ''].join('\n');
}

/** Removes control characters, so that the output of a model cannot control the terminal, and indents the lines. */
const indented = (text: string): string => text.trim().split('\n').map(printable).join('\n    ');
