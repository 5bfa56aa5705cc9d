import type { ProjectApiKeyObject, ProjectUserObject, Role } from '@graft/contracts';
import { ROLES } from '@graft/contracts/scopes';
import { Argument, Option, type Command } from 'commander';
import { callOf } from '../command-line/command-line.js';
import { findMemberId, findProjectId, PROJECT, projectPath } from '../find/find-project.js';
import { ago, printable, table } from '../output/terminal.js';
import { GRAFT } from '../called.js';

interface Options {
  readonly project?: string;
}

const HEADER = ['MEMBER', 'NAME', 'ROLE', 'KEYS', 'LAST USED', 'AGE'];

export function addMembers(program: Command): void {
  const members = program.command('members').description('Manage the members of a project');
  members
    .command('list', { isDefault: true })
    .description('List members')
    .option(...PROJECT)
    .action(async (options: Options, command: Command) => {
      const { out, api } = callOf(command);
      const path = projectPath(await findProjectId(api(), options.project));
      const all = await api().all<ProjectUserObject>(`${path}/users`);
      if (out.json) return out.value(all);
      if (all.length === 0)
        return out.line(`no members yet: ${GRAFT} members add NAME --role owner --key`);
      const rows = all.map((one) => row(one, out.id(one.id)));
      out.line(table(HEADER, rows, { width: out.width }));
    });
  members
    .command('add')
    .description('Add a member, with --key also an API key')
    .argument('<name>')
    .addOption(
      new Option(
        '--role <role>',
        'owner: manages the project; member: runs jobs; viewer: read-only',
      )
        .choices(ROLES)
        .default('member'),
    )
    .option('--key', 'create a key with all scopes of the role; its secret is printed once')
    .option(...PROJECT)
    .action(
      async (name: string, options: Options & { role: Role; key?: boolean }, command: Command) => {
        const { out, api } = callOf(command);
        const path = projectPath(await findProjectId(api(), options.project));
        const { role } = options;
        const member = await api().post<ProjectUserObject>(`${path}/users`, { name, role });
        if (!options.key) return out.json ? out.value(member) : out.line(member.id);
        const body = { name, member_id: member.id };
        const key = await api().post<ProjectApiKeyObject>(`${path}/api_keys`, body);
        if (out.json) return out.value({ ...member, key });
        out.note(
          `${member.id} ${role}; key ${key.id}: save this secret now; it is not shown again`,
        );
        out.line(key.value ?? '');
      },
    );
  members
    .command('role')
    .description("Change a member's role (applies to existing keys immediately)")
    .argument('<member>', 'id or name')
    .addArgument(new Argument('<role>').choices(ROLES))
    .option(...PROJECT)
    .action(async (name: string, role: Role, options: Options, command: Command) => {
      const { out, api } = callOf(command);
      const project = await findProjectId(api(), options.project);
      const path = `${projectPath(project)}/users/${await findMemberId(api(), project, name)}`;
      const member = await api().post<ProjectUserObject>(path, { role });
      if (out.json) out.value(member);
      else out.line(`${member.id} ${printable(member.name)} ${member.role}`);
    });
  members
    .command('remove')
    .alias('rm')
    .description('Remove members and revoke their keys immediately')
    .argument('<member...>', 'ids or names')
    .option(...PROJECT)
    .action(async (names: string[], options: Options, command: Command) => {
      const { out, api } = callOf(command);
      const project = await findProjectId(api(), options.project);
      for (const name of names) {
        const id = await findMemberId(api(), project, name);
        const answer = await api().delete<unknown>(`${projectPath(project)}/users/${id}`);
        if (out.json) out.value(answer);
        else out.line(`${id} removed`);
      }
    });
}

const row = (member: ProjectUserObject, id: string): string[] => [
  id,
  printable(member.name),
  member.role,
  String(member.graft.keys),
  member.graft.last_used_at === null ? 'never' : ago(member.graft.last_used_at),
  ago(member.added_at),
];
