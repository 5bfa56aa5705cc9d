import type { PoolObject } from '@graft/contracts';
import type { Command } from 'commander';
import type { Api } from '../client/api.js';
import { callOf } from '../command-line/command-line.js';
import { findProjectId } from '../find/find-project.js';
import { ago, printable, table } from '../output/terminal.js';

export function addPools(program: Command): void {
  const pools = program
    .command('pools')
    .description('see what waits in pools of workers, and say which projects may use them');
  pools
    .command('list', { isDefault: true })
    .description('list pools that the project may use; with an administrator’s key, all')
    .action(async (_options: unknown, command: Command) => {
      const { out, api } = callOf(command);
      const all = (await api().get<{ data: readonly PoolObject[] }>('/pools')).data;
      if (out.json) return out.value(all);
      out.line(
        table(
          ['POOL', 'STATE', 'QUEUED', 'WAIT', 'RUNNING', 'FREE', 'WORKERS', 'OPEN TO', 'AGE'],
          all.map(row),
          out.width,
        ),
      );
    });
  pools
    .command('show')
    .description('show what waits in a pool, and what its workers are like')
    .argument('<pool>')
    .action(async (name: string, _options: unknown, command: Command) => {
      const { out, api } = callOf(command);
      const pool = await api().get<PoolObject>(pathOf(name));
      if (out.json) return out.value(pool);
      for (const [what, said] of card(pool)) out.line(`${what.padEnd(8)} ${said}`);
    });
  for (const verb of ['cordon', 'uncordon'] as const)
    pools
      .command(verb)
      .description(
        verb === 'cordon'
          ? 'start nothing new in pools; what runs goes on'
          : 'let cordoned pools take jobs and chats again',
      )
      .argument('<pool...>')
      .action(async (names: string[], _options: unknown, command: Command) => {
        const { out, api } = callOf(command);
        for (const name of names) {
          const pool = await api().post<PoolObject>(`${pathOf(name)}/${verb}`);
          if (out.json) out.value(pool);
          else
            out.line(
              `${pool.id} ${pool.cordoned ? 'starts nothing new' : 'starts jobs and chats'}`,
            );
        }
      });
  change(
    pools,
    'grant',
    'let a project use a pool, which from then on is closed to projects without a grant',
    (api, pool, project) => api.post(`${pathOf(pool)}/grants`, { project_id: project }),
  );
  change(
    pools,
    'revoke',
    'withdraw a grant: waiting jobs wait, running ones are not stopped',
    (api, pool, project) => api.delete(`${pathOf(pool)}/grants/${encodeURIComponent(project)}`),
  );
  for (const [verb, open] of [
    ['open', true],
    ['close', false],
  ] as const)
    pools
      .command(verb)
      .description(open ? 'let every project use pools' : 'close pools to projects without a grant')
      .argument('<pool...>')
      .action(async (names: string[], _options: unknown, command: Command) => {
        const { out, api } = callOf(command);
        for (const name of names) {
          const pool = await api().post<PoolObject>(pathOf(name), { open });
          if (out.json) out.value(pool);
          else out.line(sentence(pool));
        }
      });
}

function change(
  pools: Command,
  verb: string,
  description: string,
  call: (api: Api, pool: string, project: string) => Promise<PoolObject>,
): void {
  pools
    .command(verb)
    .description(description)
    .argument('<pool>')
    .argument('<project>', 'its id or name')
    .action(async (name: string, project: string, _options: unknown, command: Command) => {
      const { out, api } = callOf(command);
      const pool = await call(api(), name, await findProjectId(api(), project));
      if (out.json) out.value(pool);
      else out.line(sentence(pool));
    });
}

const pathOf = (pool: string): string => `/pools/${encodeURIComponent(pool)}`;

const sentence = (pool: PoolObject): string => `${pool.id} is open to ${users(pool)}`;

/** Who may use it, as far as the key may know. */
function users({ open, grants }: PoolObject): string {
  if (open) return 'all projects';
  if (grants === undefined) return 'this project';
  return grants.map(({ project_name: name }) => printable(name)).join(', ') || 'no project';
}

/** A time in words, or nothing. */
const span = (seconds: number | null): string => (seconds === null ? '' : ago(-seconds, 0));

const stateOf = ({ cordoned }: PoolObject): string => (cordoned ? 'cordoned' : 'active');

const workersOf = ({ workers }: PoolObject): string =>
  Object.entries(workers)
    .filter(([, count]) => count > 0)
    .map(([state, count]) => `${count} ${state}`)
    .join(', ') || 'none';

const row = (pool: PoolObject): string[] => [
  pool.id,
  stateOf(pool),
  String(pool.queued),
  span(pool.longest_wait),
  String(pool.running),
  `${pool.free_slots}/${pool.slots}`,
  workersOf(pool),
  users(pool),
  ago(pool.created_at),
];

function card(pool: PoolObject): [what: string, said: string][] {
  const waits = `, the longest for ${span(pool.longest_wait)}, half of them for ${span(pool.median_wait)} or less`;
  const busiest = Math.max(0, ...(pool.load ?? []).map(({ queued }) => queued));
  return [
    ['pool', `${pool.id}, ${stateOf(pool)}`],
    ['open to', users(pool)],
    ['queued', `${pool.queued}${pool.queued > 0 ? waits : ''}`],
    ['running', `${pool.running} on ${pool.slots} slots, ${pool.free_slots} free`],
    ['workers', workersOf(pool)],
    ['hour', `${busiest} queued at most`],
  ];
}
