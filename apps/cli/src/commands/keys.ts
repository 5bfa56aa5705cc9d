import { PROJECT_SCOPES, SCOPES, type ApiKeyObject } from '@graft/contracts';
import { Option, type Command } from 'commander';
import { callOf } from '../command-line.js';
import { ago, table } from '../terminal.js';

export function addKeys(program: Command): void {
  const keys = program.command('keys').description('API keys of the project');
  keys
    .command('list', { isDefault: true })
    .description('list keys; secrets are shown only when made')
    .action(async (_options: unknown, command: Command) => {
      const { out, api } = callOf(command);
      const all = (await api().get<{ data: readonly ApiKeyObject[] }>('/keys')).data;
      if (out.json) return out.value(all);
      out.line(table(['KEY', 'NAME', 'SCOPES', 'AGE', 'LAST USED'], all.map(row)));
    });
  keys
    .command('create')
    .description('make a key; its secret is printed once')
    .argument('<name>')
    .addOption(
      new Option(
        '--scope <scope...>',
        'what it may do; without it, all of its own project',
      ).choices(SCOPES),
    )
    .action(async (name: string, options: { scope?: string[] }, command: Command) => {
      const { out, api } = callOf(command);
      const scopes = options.scope ?? PROJECT_SCOPES;
      const key = await api().post<ApiKeyObject>('/keys', { name, scopes });
      if (out.json) return out.value(key);
      out.note(`${key.id} ${key.name}: keep the secret, it is not shown again`);
      out.line(key.secret ?? '');
    });
  keys
    .command('revoke')
    .description('take keys back: they stop working at once')
    .argument('<key...>')
    .action(async (ids: string[], _options: unknown, command: Command) => {
      const { out, api } = callOf(command);
      for (const id of ids) {
        await api().delete<unknown>(`/keys/${encodeURIComponent(id)}`);
        out.line(`${id} revoked`);
      }
    });
}

const row = (key: ApiKeyObject): string[] => [
  key.id,
  key.name,
  key.scopes.join(' '),
  ago(key.created_at),
  key.last_used_at === null ? 'never' : ago(key.last_used_at),
];
