import type { ApiKeyObject, OwnKeyObject, ProjectApiKeyObject } from '@graft/contracts';
import { SCOPES } from '@graft/contracts/scopes';
import { Option, type Command } from 'commander';
import type { Api } from '../client/api.js';
import { GRAFT } from '../called.js';
import { oneNamed } from '../find/one-named.js';
import { callOf } from '../command-line/command-line.js';
import { findMemberId, findProjectId, PROJECT, projectPath } from '../find/find-project.js';
import { ago, printable, table } from '../output/terminal.js';

interface Options {
  readonly project?: string;
  readonly member?: string;
  readonly scope?: readonly string[];
}

export function addKeys(program: Command): void {
  const keys = program.command('keys').description('Manage API keys');
  keys
    .command('list', { isDefault: true })
    .description('List keys (secrets are shown only at creation)')
    .option(...PROJECT)
    .action(async (options: Options, command: Command) => {
      const { out, api } = callOf(command);
      if (options.project === undefined) {
        const all = (await api().get<{ data: readonly ApiKeyObject[] }>('/keys')).data;
        if (out.json) return out.value(all);
        const rows = all.map((key) => row(key, out.id(key.id)));
        return out.line(table(HEADER, rows, { width: out.width }));
      }
      const all = await api().all<ProjectApiKeyObject>(await keysPath(api(), options.project));
      if (out.json) out.value(all);
      else
        out.line(
          table(
            HEADER,
            all.map((key) => rowOfProject(key, out.id(key.id))),
            { width: out.width },
          ),
        );
    });
  keys
    .command('create')
    .description('Create a key and print its secret once')
    .argument('<name>')
    .addOption(
      new Option(
        '--scope <scope...>',
        'scopes of the key (default: all scopes of the member’s role, or full access to its own project)',
      ).choices(SCOPES),
    )
    .option('--member <member>', 'member who owns the key (id or name)')
    .option(...PROJECT)
    .action(async (name: string, options: Options, command: Command) => {
      const { out, api } = callOf(command);
      const key = await create(api(), name, options);
      if (out.json) return out.value(key);
      out.note(`${key.id} ${key.name}: save this secret now; it is not shown again`);
      out.line(('secret' in key ? key.secret : (key as ProjectApiKeyObject).value) ?? '');
    });
  keys
    .command('revoke')
    .description('Revoke keys immediately')
    .argument('<key...>', 'ids or names')
    .option(...PROJECT)
    .action(async (names: string[], options: Options, command: Command) => {
      const { out, api } = callOf(command);
      const path = options.project === undefined ? '/keys' : await keysPath(api(), options.project);
      for (const name of names) {
        const id = await findKeyId(api(), path, name);
        await api().delete<unknown>(`${path}/${encodeURIComponent(id)}`);
        out.line(`${id} revoked`);
      }
    });
  keys
    .command('whoami')
    .description('Show the project, member and scopes of the current key')
    .action(async (_options: unknown, command: Command) => {
      const { out, api } = callOf(command);
      const key = await api().get<OwnKeyObject>('/keys/me');
      if (out.json) return out.value(key);
      const member = key.member ? `${printable(key.member.name)}, ${key.member.role}` : 'none';
      out.line(`key      ${key.id} ${printable(key.name)}`);
      out.line(`project  ${key.project.id} ${printable(key.project.name)}`);
      out.line(`member   ${member}`);
      out.line(`scopes   ${key.scopes.join(' ')}`);
    });
}

/** Finds a key by its id, a prefix of the id, or its name. */
async function findKeyId(api: Api, path: string, name: string): Promise<string> {
  const data = await api.all<{ id: string; name: string }>(path);
  const byId = data.find(({ id }) => id === name);
  return (byId ?? oneNamed(data, name, 'key', `${GRAFT} keys`)).id;
}

const keysPath = async (api: Api, project: string | undefined): Promise<string> =>
  `${projectPath(await findProjectId(api, project))}/api_keys`;

async function create(
  api: Api,
  name: string,
  { project, member, scope }: Options,
): Promise<ApiKeyObject | ProjectApiKeyObject> {
  const scopes = scope && { scopes: scope };
  if (project === undefined && member === undefined)
    return api.post<ApiKeyObject>('/keys', { name, ...scopes });
  const id = await findProjectId(api, project);
  const owner = member === undefined ? {} : { member_id: await findMemberId(api, id, member) };
  return api.post<ProjectApiKeyObject>(`${projectPath(id)}/api_keys`, {
    name,
    ...owner,
    ...scopes,
  });
}

const HEADER = ['KEY', 'NAME', 'MEMBER', 'SCOPES', 'AGE', 'LAST USED'];

const row = (key: ApiKeyObject, id: string): string[] => [
  id,
  printable(key.name),
  printable(key.member?.name ?? ''),
  key.scopes.join(' '),
  ago(key.created_at),
  key.last_used_at === null ? 'never' : ago(key.last_used_at),
];

const rowOfProject = (key: ProjectApiKeyObject, id: string): string[] => [
  id,
  printable(key.name),
  printable(key.owner.type === 'user' ? key.owner.user.name : ''),
  key.graft.scopes.join(' '),
  ago(key.created_at),
  key.last_used_at === null ? 'never' : ago(key.last_used_at),
];
