import type { Deleted, Page, WorkerObject } from '@graft/contracts';
import { SCHEMA_VERSION } from '@graft/contracts/schema-version';
import type { Command } from 'commander';
import type { Api } from '../client/api.js';
import { callOf } from '../command-line/command-line.js';
import { only } from '../find/find-project.js';
import { shortId } from '../find/short-id.js';
import { ago, bytes, printable, table } from '../output/terminal.js';
import { GRAFT } from '../called.js';

export function addWorkers(program: Command): void {
  const workers = program.command('workers').description('List, drain and cordon workers');
  workers
    .command('list', { isDefault: true })
    .description('List workers with their loaded models and running jobs')
    .action(async (_options: unknown, command: Command) => {
      const { out, api } = callOf(command);
      const all = await everyWorker(api());
      if (out.json) return out.value(all);
      if (all.length === 0)
        return out.line('no workers yet: graft-worker --url grpc://HOST:8081 --token-file FILE');
      out.line(
        table(
          ['WORKER', 'POOL', 'STATE', 'FREE', 'DEVICES', 'MEMORY', 'LOADED', 'JOBS', 'LAST SEEN'],
          all.map(row),
          { width: out.width, optional: ['LOADED', 'DEVICES', 'LAST SEEN'] },
        ),
      );
    });
  change(
    workers,
    'drain',
    'Checkpoint and requeue the jobs of workers, then stop them',
    (api, id) => api.post<WorkerObject>(`${pathOf(id)}/drain`),
    (worker) => `${printable(worker.name)} is draining`,
  );
  change(
    workers,
    'cordon',
    'Stop assigning work to workers; running jobs continue',
    (api, id) => api.post<WorkerObject>(`${pathOf(id)}/cordon`),
    (worker) => `${printable(worker.name)} is cordoned; running jobs continue`,
  );
  change(
    workers,
    'uncordon',
    'Assign jobs and chats to cordoned workers again',
    (api, id) => api.post<WorkerObject>(`${pathOf(id)}/uncordon`),
    (worker) => `${printable(worker.name)} accepts jobs and chats`,
  );
  change(
    workers,
    'remove',
    'Remove workers that are offline',
    (api, id) => api.delete<Deleted>(pathOf(id)),
    ({ id }) => `${id} removed`,
  );
}

function change<Answer>(
  workers: Command,
  verb: string,
  description: string,
  call: (api: Api, id: string) => Promise<Answer>,
  sentence: (answer: Answer) => string,
): void {
  workers
    .command(verb)
    .description(description)
    .argument('<worker...>', 'ids or names')
    .action(async (names: string[], _options: unknown, command: Command) => {
      const { out, api } = callOf(command);
      for (const name of names) {
        const answer = await call(api(), await findWorkerId(api(), name));
        if (out.json) out.value(answer);
        else out.line(sentence(answer));
      }
    });
}

const pathOf = (id: string): string => `/workers/${encodeURIComponent(id)}`;

async function findWorkerId(api: Api, name: string): Promise<string> {
  const all = await everyWorker(api);
  return only(all, name, 'worker', `${GRAFT} workers --json`);
}

async function everyWorker(api: Api): Promise<WorkerObject[]> {
  const all: WorkerObject[] = [];
  for (;;) {
    const last = all.at(-1);
    const after = last ? `?after=${encodeURIComponent(last.id)}` : '';
    const page = await api.get<Page<WorkerObject>>(`/workers${after}`);
    all.push(...page.data);
    if (!page.has_more || page.data.length === 0) return all;
  }
}

/** State of a worker, with its schema version if it is older than this build: it gets no jobs of a newer API. */
function stateOf({ cordoned, state, schema_version }: WorkerObject): string {
  const word = cordoned && state === 'online' ? 'cordoned' : state;
  return schema_version < SCHEMA_VERSION ? `${word}, schema version ${schema_version}` : word;
}

const row = (worker: WorkerObject): string[] => [
  printable(worker.name),
  worker.pool,
  stateOf(worker),
  `${worker.free_slots}/${worker.slots}`,
  worker.devices.join(' '),
  worker.rss_bytes === null
    ? bytes(worker.memory_bytes)
    : `${bytes(worker.rss_bytes)} of ${bytes(worker.memory_bytes)}`,
  worker.resident_bases.join(' '),
  worker.jobs.map((job) => `${shortId(job.id)}@${job.step}`).join(' '),
  ago(worker.last_seen_at),
];
