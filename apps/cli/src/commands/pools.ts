import type { PoolObject } from '@graft/contracts';
import type { Command } from 'commander';
import type { Api } from '../client/api.js';
import { callOf } from '../command-line/command-line.js';
import { findProjectId } from '../find/find-project.js';
import { ago, printable, table } from '../output/terminal.js';

export function addPools(program: Command): void {
  const pools = program.command('pools').description('Inspect worker pools and grant access');
  pools
    .command('list', { isDefault: true })
    .description('List the pools of the project (all, with an admin key)')
    .action(async (_options: unknown, command: Command) => {
      const { out, api } = callOf(command);
      const all = (await api().get<{ data: readonly PoolObject[] }>('/pools')).data;
      if (out.json) return out.value(all);
      out.line(
        table(
          ['POOL', 'STATE', 'QUEUED', 'WAIT', 'RUNNING', 'FREE', 'WORKERS', 'OPEN TO', 'AGE'],
          all.map(row),
          { width: out.width },
        ),
      );
    });
  pools
    .command('show')
    .description('Show the queue and workers of a pool')
    .argument('<pool>')
    .action(async (name: string, _options: unknown, command: Command) => {
      const { out, api } = callOf(command);
      const pool = await api().get<PoolObject>(pathOf(name));
      if (out.json) return out.value(pool);
      for (const [label, text] of card(pool)) out.line(`${label.padEnd(8)} ${text}`);
    });
  for (const verb of ['cordon', 'uncordon'] as const)
    pools
      .command(verb)
      .description(
        verb === 'cordon'
          ? 'Stop assigning work to pools; running jobs continue'
          : 'Assign jobs and chats to cordoned pools again',
      )
      .argument('<pool...>')
      .action(async (names: string[], _options: unknown, command: Command) => {
        const { out, api } = callOf(command);
        for (const name of names) {
          const pool = await api().post<PoolObject>(`${pathOf(name)}/${verb}`);
          if (out.json) out.value(pool);
          else
            out.line(
              `${pool.id} ${pool.cordoned ? 'is cordoned; running jobs continue' : 'accepts jobs and chats'}`,
            );
        }
      });
  change(
    pools,
    'grant',
    'Grant a project access (closes the pool to others)',
    (api, pool, project) => api.post(`${pathOf(pool)}/grants`, { project_id: project }),
  );
  change(
    pools,
    'revoke',
    'Revoke access; queued jobs wait, running jobs continue',
    (api, pool, project) => api.delete(`${pathOf(pool)}/grants/${encodeURIComponent(project)}`),
  );
  for (const [verb, open] of [
    ['open', true],
    ['close', false],
  ] as const)
    pools
      .command(verb)
      .description(open ? 'Open pools to every project' : 'Close pools to projects without a grant')
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
    .argument('<project>', 'id or name of the project')
    .action(async (name: string, project: string, _options: unknown, command: Command) => {
      const { out, api } = callOf(command);
      const pool = await call(api(), name, await findProjectId(api(), project));
      if (out.json) out.value(pool);
      else out.line(sentence(pool));
    });
}

const pathOf = (pool: string): string => `/pools/${encodeURIComponent(pool)}`;

const sentence = (pool: PoolObject): string => `${pool.id} is open to ${users(pool)}`;

/** Projects with access, as far as the key can see them. */
function users({ open, grants }: PoolObject): string {
  if (open) return 'all projects';
  if (grants === undefined) return 'this project';
  return grants.map(({ project_name: name }) => printable(name)).join(', ') || 'no project';
}

/** Duration as text; empty if null. */
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

function card(pool: PoolObject): [label: string, text: string][] {
  const waits = `, longest wait ${span(pool.longest_wait)}, median ${span(pool.median_wait)}`;
  const busiest = Math.max(0, ...(pool.load ?? []).map(({ queued }) => queued));
  return [
    ['pool', `${pool.id}, ${stateOf(pool)}`],
    ['open to', users(pool)],
    ['queued', `${pool.queued}${pool.queued > 0 ? waits : ''}`],
    ['running', `${pool.running} on ${pool.slots} slots, ${pool.free_slots} free`],
    ['workers', workersOf(pool)],
    ['hour', `peak queue ${busiest}`],
  ];
}
