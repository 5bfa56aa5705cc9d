import type { ProjectDeletionObject, ProjectLimits, ProjectObject } from '@graft/contracts';
import { InvalidArgumentError, type Command } from 'commander';
import { CliError } from '../cli-error.js';
import { callOf } from '../command-line/command-line.js';
import { findProjectId, projectPath } from '../find/find-project.js';
import { deletionCard, moment, typesName } from '../output/project-deletion.js';
import { positiveInteger } from '../command-line/parse-number.js';
import { ago, bytes, printable, table } from '../output/terminal.js';
import { GRAFT } from '../called.js';

const LIMITS = [
  'storage_bytes',
  'running_jobs',
  'queued_jobs',
  'tokens_per_day',
  'chats',
  'eval_runs',
  'priority',
] as const satisfies readonly (keyof ProjectLimits)[];
const LIMIT_HELP = `limit as NAME=NUMBER (k, M, G, T allowed) or NAME=none; NAME is ${LIMITS.join(', ')} (repeatable)`;

type Limits = Partial<Record<keyof ProjectLimits, number | null>>;

interface Options {
  readonly name?: string;
  readonly weight?: number;
  readonly limit?: Limits;
}

export function addProjects(program: Command): void {
  const projects = program.command('projects').description('Manage projects');
  projects
    .command('list', { isDefault: true })
    .description('List projects (all, with an admin key)')
    .option('-a, --archived', 'include archived projects')
    .action(async (options: { archived?: boolean }, command: Command) => {
      const { out, api } = callOf(command);
      const query = options.archived ? '?include_archived=true' : '';
      const all = await api().all<ProjectObject>(`/organization/projects${query}`);
      if (out.json) return out.value(all);
      const header = ['PROJECT', 'NAME', 'STATUS', 'RUNNING', 'QUEUED', 'WEIGHT', 'LIMITS', 'AGE'];
      out.line(
        table(
          header,
          all.map((one) => row(one, out.id(one.id))),
          { width: out.width },
        ),
      );
    });
  projects
    .command('create')
    .description('Create a project')
    .argument('<name>')
    .option('--weight <number>', 'share of a pool relative to other projects', positiveInteger)
    .option('--limit <limit>', LIMIT_HELP, limit)
    .action(async (name: string, options: Options, command: Command) => {
      const { out, api } = callOf(command);
      const project = await api().post<ProjectObject>('/organization/projects', {
        name,
        ...graftOf(options),
      });
      if (out.json) return out.value(project);
      out.line(project.id);
      out.note(`Add people: ${GRAFT} members add NAME --role owner --project ${project.id}`);
    });
  projects
    .command('modify')
    .description('Change the name, weight or limits of a project')
    .argument('<project>', 'id or name')
    .option('--name <name>', 'new name')
    .option('--weight <number>', 'share of a pool relative to other projects', positiveInteger)
    .option('--limit <limit>', LIMIT_HELP, limit)
    .action(async (name: string, options: Options, command: Command) => {
      const { out, api } = callOf(command);
      const path = projectPath(await findProjectId(api(), name));
      const project = await api().post<ProjectObject>(path, {
        ...(options.name !== undefined && { name: options.name }),
        ...graftOf(options),
      });
      if (out.json) out.value(project);
      else out.line(`${project.id} ${printable(project.name)} ${limitsOf(project)}`.trimEnd());
    });
  projects
    .command('archive')
    .description('Archive projects: disable keys and cancel jobs')
    .argument('<project...>', 'ids or names')
    .action(async (names: string[], _options: unknown, command: Command) => {
      const { out, api } = callOf(command);
      for (const name of names) {
        const path = projectPath(await findProjectId(api(), name));
        const project = await api().post<ProjectObject>(`${path}/archive`);
        if (out.json) out.value(project);
        else out.line(`${project.id} ${printable(project.name)} archived`);
      }
    });
  addDeletion(projects);
}

function addDeletion(projects: Command): void {
  projects
    .command('delete')
    .description('Delete a project after a delay; asks for confirmation')
    .argument('<project>', 'id or name')
    .option('-y, --yes', 'skip the confirmation')
    .action(async (named: string, options: { yes?: boolean }, command: Command) => {
      const { out, api } = callOf(command);
      const path = projectPath(await findProjectId(api(), named, { archived: true }));
      if (!options.yes) {
        const preview = await api().get<ProjectDeletionObject>(`${path}/deletion`);
        out.note(deletionCard(preview, out.width));
        if (!(await typesName(preview.name)))
          throw new CliError('nothing was deleted: the name does not match');
      }
      const project = await api().delete<ProjectObject>(path);
      if (out.json) return out.value(project);
      const { id, name, graft } = project;
      if (graft.deletes_at === null) throw new CliError(`${id} was restored in the meantime`);
      out.line(`${id} ${printable(name)} will be deleted on ${moment(graft.deletes_at)}`);
      out.note(`To undo before then: ${GRAFT} projects restore ${id}`);
    });
  projects
    .command('restore')
    .description('Restore deleted projects; their jobs stay cancelled')
    .argument('<project...>', 'ids or names')
    .action(async (names: string[], _options: unknown, command: Command) => {
      const { out, api } = callOf(command);
      for (const name of names) {
        const path = projectPath(await findProjectId(api(), name, { archived: true }));
        const project = await api().post<ProjectObject>(`${path}/restore`);
        if (out.json) out.value(project);
        else out.line(`${project.id} ${printable(project.name)} ${project.status}`);
      }
    });
}

/** Commander's parser of a repeated option: adds one `NAME=NUMBER` to the previous ones. */
function limit(text: string, before: Limits = {}): Limits {
  const [, name, value] = /^([a-z_]+)=(.+)$/.exec(text) ?? [];
  const known = LIMITS.find((one) => one === name);
  if (known === undefined || value === undefined)
    throw new InvalidArgumentError(`Expected NAME=NUMBER, where NAME is ${LIMITS.join(', ')}.`);
  return { ...before, [known]: value === 'none' ? null : count(value) };
}

function count(text: string): number {
  const [, number, unit = ''] = /^(\d+(?:\.\d+)?)([kMGT]?)$/.exec(text) ?? [];
  const value = Math.round(Number(number) * 1000 ** ['', 'k', 'M', 'G', 'T'].indexOf(unit));
  if (!Number.isSafeInteger(value))
    throw new InvalidArgumentError('Expected an integer ≥ 0, or none.');
  return value;
}

const graftOf = ({ weight, limit: limits }: Options): Record<string, unknown> =>
  weight === undefined && limits === undefined
    ? {}
    : { graft: { ...(weight && { weight }), ...(limits && { limits }) } };

const limitsOf = ({ graft }: ProjectObject): string =>
  LIMITS.flatMap((name) => {
    const value = graft.limits[name];
    if (value === undefined) return [];
    return `${name}=${name === 'storage_bytes' ? bytes(value).replace(' ', '') : value}`;
  }).join(' ');

const statusOf = ({ status, graft }: ProjectObject): string =>
  graft.deletes_at ? `deleted on ${moment(graft.deletes_at).slice(0, 10)}` : status;

const row = (project: ProjectObject, id: string): string[] => [
  id,
  printable(project.name),
  statusOf(project),
  String(project.graft.running_jobs),
  String(project.graft.queued_jobs),
  String(project.graft.weight),
  limitsOf(project),
  ago(project.created_at),
];
