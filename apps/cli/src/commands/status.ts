import type { OverviewObject, OwnKeyObject, ProblemObject, WorkerObject } from '@graft/contracts';
import { JOB_STATUSES } from '@graft/contracts/job-status';
import type { Command } from 'commander';
import { GRAFT } from '../called.js';
import { ApiError, type Api } from '../client/api.js';
import { callOf } from '../command-line/command-line.js';
import { failure, state, strong, warning } from '../output/style.js';
import { ago, printable, wrap } from '../output/terminal.js';

interface Status {
  readonly url: string;
  readonly key: OwnKeyObject;
  /** Null if the key may not see it. */
  readonly overview: OverviewObject | null;
  readonly workers: readonly WorkerObject[] | null;
  readonly problems: readonly Pick<ProblemObject, 'severity' | 'title' | 'action'>[];
}

export function addStatus(program: Command): void {
  program
    .command('status')
    .description('Show the server, your key, jobs, workers and problems')
    .action(async (_options: unknown, command: Command) => {
      const { out, api } = callOf(command);
      const found = await statusOf(api());
      if (out.json) return out.value(found);
      for (const [label, text] of lines(found))
        out.line(`${strong(label.padEnd(10))}${wrap(text, out.width - 10, ' '.repeat(10))}`);
    });
}

async function statusOf(api: Api): Promise<Status> {
  const key = await api.get<OwnKeyObject>('/keys/me');
  const [overview, workers, problems] = await Promise.all([
    visible(api.get<OverviewObject>('/overview')),
    visible(api.get<{ data: readonly WorkerObject[] }>('/workers')),
    visible(api.get<{ data: readonly ProblemObject[] }>('/problems')),
  ]);
  return {
    url: api.credentials.url,
    key,
    overview,
    workers: workers?.data ?? null,
    problems: problems?.data ?? ownProblems(overview, workers?.data ?? []),
  };
}

/** An answer, or null if the key may not have it or the server does not know the endpoint. */
async function visible<T>(answer: Promise<T>): Promise<T | null> {
  try {
    return await answer;
  } catch (error) {
    if (error instanceof ApiError && [403, 404].includes(error.status)) return null;
    throw error;
  }
}

/** Problems that the numbers show, for servers without a list of problems. */
function ownProblems(
  overview: OverviewObject | null,
  workers: readonly WorkerObject[],
): Status['problems'] {
  const found: { severity: ProblemObject['severity']; title: string; action: string }[] = [];
  if (overview?.workers_online === 0)
    found.push({
      severity: 'error',
      title: 'No worker is online: jobs wait.',
      action: `Start one with ${GRAFT} up, or graft-worker on another machine.`,
    });
  for (const worker of workers.filter((one) => one.state === 'offline'))
    found.push({
      severity: 'warning',
      title: `Worker ${printable(worker.name)} is offline, last seen ${ago(worker.last_seen_at)} ago.`,
      action: `Restart it, or run ${GRAFT} workers remove ${printable(worker.name)}.`,
    });
  if (overview && overview.failed_24h > 0)
    found.push({
      severity: 'warning',
      title: `${overview.failed_24h} job${overview.failed_24h === 1 ? '' : 's'} failed in the last 24 hours.`,
      action: `See ${GRAFT} jobs --state failed.`,
    });
  return found;
}

function lines({ url, key, overview, workers, problems }: Status): [string, string][] {
  const member = key.member ? `, member ${printable(key.member.name)} (${key.member.role})` : '';
  const none = 'not visible with this key';
  const jobs = JOB_STATUSES.flatMap((status) => {
    const count = overview?.jobs[status] ?? 0;
    return count > 0 ? [`${count} ${state(status)}`] : [];
  });
  return [
    ['Server', `${url.replace(/\/v1$/, '/')}${overview ? `, version ${overview.version}` : ''}`],
    ['Key', `${printable(key.name)} (${key.id})${member}`],
    ['Project', `${printable(key.project.name)} (${key.project.id})`],
    ['Jobs', overview ? jobs.join(', ') || 'none yet' : none],
    ['Queue', overview ? `${overview.jobs['queued'] ?? 0} waiting` : none],
    ['Workers', workers === null ? none : workersText(workers)],
    ['Slots', overview ? `${overview.slots_busy} of ${overview.slots} busy` : none],
    ...problems.map(({ severity, title, action }, n): [string, string] => [
      n === 0 ? 'Problems' : '',
      `${(severity === 'error' ? failure : warning)(printable(title))} ${printable(action)}`,
    ]),
    ...(problems.length === 0 ? [['Problems', 'none'] satisfies [string, string]] : []),
  ];
}

function workersText(workers: readonly WorkerObject[]): string {
  const count = (of: string): number => workers.filter(({ state: one }) => one === of).length;
  const states = [...new Set(workers.map(({ state: one }) => one))];
  return states.map((one) => `${count(one)} ${one}`).join(', ') || 'none yet';
}
