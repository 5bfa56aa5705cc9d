import type { LimitsObject } from '@graft/contracts';
import type { Command } from 'commander';
import { callOf } from '../command-line/command-line.js';
import { findProjectId, projectPath } from '../find/find-project.js';
import { bytes, table } from '../output/terminal.js';

export function addLimits(program: Command): void {
  program
    .command('limits')
    .description('Show project quotas and usage')
    .option('--project <project>', 'project that you manage (id or name)')
    .action(async (options: { project?: string }, command: Command) => {
      const { out, api } = callOf(command);
      const path =
        options.project === undefined
          ? ''
          : projectPath(await findProjectId(api(), options.project));
      const limits = await api().get<LimitsObject>(`${path}/limits`);
      if (out.json) return out.value(limits);
      out.line(
        `Project ${limits.project_id} · weight ${limits.weight} · priorities ${limits.highest_priority}–1000`,
      );
      out.line(
        table(['LIMIT', 'USED', 'QUOTA', 'RESETS'], limits.data.map(row), { width: out.width }),
      );
    });
}

const amountOf = (name: string, count: number): string =>
  name.endsWith('_bytes') ? bytes(count) : count.toLocaleString('en');

const row = ({ name, limit, used, resets_at: resets }: LimitsObject['data'][number]): string[] => [
  name,
  amountOf(name, used),
  limit === null ? 'no limit' : amountOf(name, limit),
  resets === undefined ? '' : new Date(resets * 1000).toISOString().replace('.000Z', 'Z'),
];
