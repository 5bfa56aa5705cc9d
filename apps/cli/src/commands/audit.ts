import type { AuditLogObject } from '@graft/contracts';
import type { Command } from 'commander';
import { callOf } from '../command-line/command-line.js';
import { findProjectId } from '../find/find-project.js';
import { positiveInteger } from '../command-line/parse-number.js';
import { printable, table } from '../output/terminal.js';

interface Options {
  readonly limit: number;
  readonly project?: string;
  readonly type?: readonly string[];
  readonly target?: readonly string[];
  readonly by?: readonly string[];
}

export function addAudit(program: Command): void {
  program
    .command('audit')
    .description('Show the audit log, newest first')
    .option('-n, --limit <number>', 'maximum number to list', positiveInteger, 50)
    .option('--project <project>', 'only entries of this project (id or name)')
    .option('--type <type...>', 'only these actions, e.g. api_key.created')
    .option('--target <id...>', 'only entries about these objects')
    .option('--by <id...>', 'only actions of these keys or members')
    .action(async (options: Options, command: Command) => {
      const { out, api } = callOf(command);
      const query = new URLSearchParams();
      const all = (name: string, values: readonly string[] = []): void =>
        values.forEach((value) => query.append(`${name}[]`, value));
      if (options.project !== undefined)
        all('project_ids', [await findProjectId(api(), options.project)]);
      all('event_types', options.type);
      all('resource_ids', options.target);
      all('actor_ids', options.by);
      const rows = await api().all<AuditLogObject>(
        `/organization/audit_logs?${query}`,
        options.limit,
      );
      if (out.json) return out.value(rows);
      if (rows.length === 0) return out.line('no matching entries');
      out.line(
        table(['TIME', 'ACTION', 'TARGET', 'ACTOR', 'IP ADDRESS', 'PROJECT'], rows.map(row), {
          width: out.width,
        }),
      );
    });
}

const row = ({ effective_at, type, project, actor, graft }: AuditLogObject): string[] => [
  new Date(effective_at * 1000).toISOString().slice(0, 19).replace('T', ' '),
  type,
  printable(graft.target),
  printable(actor?.api_key.user?.name ?? graft.key_name ?? (actor ? actor.api_key.id : 'system')),
  graft.ip_address ?? '',
  printable(project?.name ?? ''),
];
