import type { LimitsObject } from '@graft/contracts';
import type { Command } from 'commander';
import { callOf } from '../command-line/command-line.js';
import { findProjectId, projectPath } from '../find/find-project.js';
import { table } from '../output/terminal.js';

export function addLimits(program: Command): void {
  program
    .command('limits')
    .description('show what your project may have, and how much of it is in use')
    .option('--project <project>', 'id or name of a project that you manage')
    .action(async (options: { project?: string }, command: Command) => {
      const { out, api } = callOf(command);
      const path =
        options.project === undefined
          ? ''
          : projectPath(await findProjectId(api(), options.project));
      const limits = await api().get<LimitsObject>(`${path}/limits`);
      if (out.json) return out.value(limits);
      out.line(
        `${limits.project_id}: weight ${limits.weight}, priority ${limits.highest_priority} and later`,
      );
      out.line(table(['LIMIT', 'USED', 'OF', 'RESETS'], limits.data.map(row)));
    });
}

const row = ({ name, limit, used, resets_at: resets }: LimitsObject['data'][number]): string[] => [
  name,
  used.toLocaleString('en'),
  limit === null ? 'no limit' : limit.toLocaleString('en'),
  resets === undefined ? '' : new Date(resets * 1000).toISOString().replace('.000Z', 'Z'),
];
