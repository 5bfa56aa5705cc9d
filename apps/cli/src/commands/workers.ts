import type { WorkerObject } from '@graft/contracts';
import type { Command } from 'commander';
import { callOf } from '../command-line.js';
import { ago, bytes, table } from '../terminal.js';

export function addWorkers(program: Command): void {
  program
    .command('workers')
    .description('list workers, what they hold and what they do')
    .action(async (_options: unknown, command: Command) => {
      const { out, api } = callOf(command);
      const all = (await api().get<{ data: readonly WorkerObject[] }>('/workers')).data;
      if (out.json) return out.value(all);
      if (all.length === 0)
        return out.line(
          'no worker has joined: graft-worker --url grpc://HOST:8081 --token-file FILE',
        );
      out.line(
        table(
          ['WORKER', 'POOL', 'STATE', 'FREE', 'DEVICES', 'MEMORY', 'HOLDS', 'JOBS', 'SEEN'],
          all.map(row),
        ),
      );
    });
}

const row = (worker: WorkerObject): string[] => [
  worker.name,
  worker.pool,
  worker.state,
  `${worker.free_slots}/${worker.slots}`,
  worker.devices.join(' '),
  worker.rss_bytes === null
    ? bytes(worker.memory_bytes)
    : `${bytes(worker.rss_bytes)} of ${bytes(worker.memory_bytes)}`,
  worker.resident_bases.join(' '),
  worker.jobs.map((job) => `${job.id}@${job.step}`).join(' '),
  ago(worker.last_seen_at),
];
