import { readFileSync } from 'node:fs';
import { load } from 'js-yaml';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { importBase, startTestApi, until, uploadChats, type TestApi } from './fixture.js';
import { makeProject } from './projects.js';
import { readPromql, valueOf } from './promql.js';
import { ScriptedWorker, started, step } from './scripted-worker.js';

// Metrics of a real server as Prometheus scrapes them, and the Grafana dashboard and alerts that use them.

let api: TestApi;
beforeAll(async () => {
  api = await startTestApi({ leaseMs: 3000, reconcileMs: 200, retryBackoffMs: 50 });
  await importBase(api);
});
afterAll(() => api?.close());

const keyWith = async (scopes?: string[]): Promise<string> =>
  (await api.post<{ secret: string }>('/keys', { name: 'k', ...(scopes && { scopes }) })).secret;

async function scrape(key: string): Promise<Response> {
  return fetch(`${api.url}/metrics`, { headers: { authorization: `Bearer ${key}` } });
}

/** Values of one scrape by name and labels. */
async function figures(key: string): Promise<Map<string, number>> {
  const lines = (await (await scrape(key)).text()).split('\n');
  return new Map(
    lines
      .filter((line) => line !== '' && !line.startsWith('#'))
      .map((line) => [line.slice(0, line.lastIndexOf(' ')), Number(line.split(' ').at(-1))]),
  );
}

async function submit(pool: string): Promise<string> {
  const { id } = await api.post<{ id: string }>('/fine_tuning/jobs', {
    model: 'tiny',
    training_file: await uploadChats(api),
    graft: { pool },
  });
  return id;
}

describe('/metrics', () => {
  it('accepts a key with metrics:read, which allows nothing else, and no ordinary key', async () => {
    const key = await keyWith(['metrics:read']);
    const answer = await scrape(key);
    expect([answer.status, answer.headers.get('content-type')]).toEqual([
      200,
      'text/plain; version=0.0.4; charset=utf-8',
    ]);
    expect((await scrape(await keyWith())).status).toBe(403);
    const jobs = await fetch(`${api.url}/v1/fine_tuning/jobs`, {
      headers: { authorization: `Bearer ${key}` },
    });
    expect(jobs.status).toBe(403);
  });

  it('counts queues, workers, finished jobs and expired leases, and does not keep labels of pools that users invent', async () => {
    const worker = await new ScriptedWorker(api, { pool: 'gpu' }).connect();
    const done = await submit('gpu');
    const lease = await worker.nextAssignment();
    worker.keep(lease);
    const waiting = await submit('gpu');
    const chosen = await submit('chosen-by-a-user');
    await worker.report(lease, started(), step(1));
    const running = await figures(api.apiKey);
    expect(running.get('graft_jobs{pool="gpu",state="running"}')).toBe(1);
    expect(running.get('graft_jobs{pool="gpu",state="queued"}')).toBe(1);
    expect(running.get('graft_jobs{pool="other",state="queued"}')).toBe(1);
    expect(running.get('graft_workers{state="online"}')).toBe(1);
    // An autoscaler must find a pool before any worker has joined it. The labels disappear with the jobs.
    for (const name of ['graft_queue_depth', 'graft_pool_wanted_slots'])
      expect([name, running.get(`${name}{pool="chosen-by-a-user"}`)]).toEqual([name, 1]);
    expect(running.get('graft_queue_wait_seconds{pool="chosen-by-a-user"}')).toBeGreaterThan(0);
    await api.post(`/fine_tuning/jobs/${chosen}/cancel`);
    await api.post(`/fine_tuning/jobs/${waiting}/cancel`);
    await worker.finish(lease, 10);
    const over = await figures(api.apiKey);
    expect(over.get('graft_jobs{pool="gpu",state="succeeded"}')).toBe(1);
    expect(over.get('graft_jobs{pool="gpu",state="running"}')).toBeUndefined();
    expect(over.get('graft_job_seconds_count{state="succeeded"}')).toBe(1);
    expect(over.get('graft_job_seconds_count{state="cancelled"}')).toBeUndefined(); // it never ran
    expect(over.get('graft_leases_expired_total')).toBe(0);
    const post = [...over].filter(([name]) => /_seconds_count\{method="POST"/.test(name));
    expect(post.reduce((sum, [, count]) => sum + count, 0)).toBeGreaterThanOrEqual(4);
    for (const text of ['chosen-by-a-user', done, waiting, 'fine_tuning'])
      expect([...over.keys()].join()).not.toContain(text);

    await submit('gpu');
    await worker.nextAssignment();
    worker.vanish();
    await until(
      async () => (await figures(api.apiKey)).get('graft_leases_expired_total') === 1,
      10_000,
    );
    await until(
      async () => (await figures(api.apiKey)).get('graft_workers{state="offline"}') === 1,
    );
  });
});

it('labels at most 20 pools without workers, those whose jobs have waited longest', async () => {
  const training_file = await uploadChats(api);
  const ids: string[] = [];
  for (let n = 1; n <= 22; n++) {
    const graft = { pool: `invented-${n}` };
    const body = { model: 'tiny', training_file, graft };
    ids.push((await api.post<{ id: string }>('/fine_tuning/jobs', body)).id);
  }
  const found = await figures(api.apiKey);
  const labelled = (n: number): boolean =>
    found.has(`graft_pool_wanted_slots{pool="invented-${n}"}`);
  expect(ids.map((_, at) => at + 1).filter(labelled)).toEqual(
    Array.from({ length: 20 }, (_, at) => at + 1),
  );
  for (const id of ids) await api.post(`/fine_tuning/jobs/${id}/cancel`);
});

describe('metrics of webhooks, integrations and traces', () => {
  const WEBHOOKS = (state: string) => `graft_webhook_endpoints{state="${state}"}`;
  const WANDB = 'graft_integrations{type="wandb",state="failing"}';

  it('do not count archived projects, whose deliveries are never retried', async () => {
    const project = await makeProject(api, 'to archive');
    await api.query(
      `INSERT INTO webhook_endpoint (id, project_id, name, url, event_types, secret, failing_since, disabled_at, disabled_reason)
       VALUES ('we_failing', $1, 'failing', 'https://a.test', '[]', '', now(), NULL, NULL),
         ('we_given_up', $1, 'given up', 'https://b.test', '[]', '', now(), now(), 'by the test')`,
      [project.id],
    );
    await api.query(
      `INSERT INTO integration (project_id, type, url, project, failing_since) VALUES ($1, 'wandb', 'https://c.test', 'p', now())`,
      [project.id],
    );
    const counted = async () => {
      const found = await figures(api.apiKey);
      return [WEBHOOKS('failing'), WEBHOOKS('disabled'), WANDB].map((name) => found.get(name));
    };
    expect(await counted()).toEqual([1, 1, 1]);
    await api.post(`/organization/projects/${project.id}/archive`);
    expect(await counted()).toEqual([0, 0, 0]);
  });

  it('do not count traces if there is no collector, even if there was one when the job was created', async () => {
    const id = await submit('unserved');
    await api.post(`/fine_tuning/jobs/${id}/cancel`);
    await api.query('INSERT INTO trace_export (job_id) VALUES ($1)', [id]);
    expect((await figures(api.apiKey)).get('graft_traces_waiting')).toBe(0);
  });
});

const deployed = (path: string): string =>
  readFileSync(new URL(`../../../deploy/grafana/${path}`, import.meta.url), 'utf8');

interface Board {
  readonly panels: readonly {
    readonly title: string;
    readonly targets?: readonly { readonly expr: string; readonly legendFormat: string }[];
  }[];
  readonly templating: { readonly list: readonly { readonly name: string; definition?: string }[] };
}
interface Rules {
  readonly groups: readonly {
    readonly rules: readonly {
      readonly alert: string;
      readonly expr: string;
      readonly annotations: { readonly summary: string };
    }[];
  }[];
}

const board = JSON.parse(deployed('graft.json')) as Board;
const rules = (load(deployed('alerts.yaml')) as Rules).groups.flatMap((group) => group.rules);
const drawn = board.panels.flatMap(({ title, targets = [] }) =>
  targets.map(({ expr, legendFormat }) => ({ of: title, expr, text: legendFormat })),
);
const asked = [
  ...drawn,
  ...rules.map(({ alert, expr, annotations }) => ({ of: alert, expr, text: annotations.summary })),
];

/** Labels that Prometheus adds. */
const ITS_OWN = ['job', 'instance'];
/** Metrics whose label values depend on events, such as a failed job or a response with status 500. */
const AS_IT_COMES = /^graft_(jobs|workers|job_seconds|http_request_seconds)(_|$)/;

/** Values of each label, by metric. */
function seriesOf(text: string): Map<string, Map<string, Set<string>>> {
  const all = new Map<string, Map<string, Set<string>>>();
  const of = (name: string) => all.get(name) ?? all.set(name, new Map()).get(name)!;
  for (const line of text.split('\n')) {
    const [, type, kind] = /^# TYPE (\S+) (\S+)/.exec(line) ?? [];
    if (type) for (const end of kind === 'histogram' ? ['_bucket', '_count'] : ['']) of(type + end);
    const [, name, labels = ''] = /^(\w+)(?:\{(.*)\})? /.exec(line) ?? [];
    if (name === undefined || name.endsWith('_sum')) continue;
    for (const [, label, value] of labels.matchAll(/(\w+)="([^"]*)"/g)) {
      const values = of(name);
      values.set(label!, (values.get(label!) ?? new Set()).add(value!));
    }
  }
  return all;
}

describe('the Grafana dashboard and the alerts', () => {
  it('use existing metrics, labels and label values', async () => {
    const series = seriesOf(await (await scrape(api.apiKey)).text());
    for (const { of, expr } of asked) {
      const { selectors, grouped } = readPromql(expr);
      const known = new Set([...ITS_OWN, 'le']);
      for (const { metric, matchers } of selectors) {
        if (metric === 'up') continue;
        expect([...series.keys()], of).toContain(metric);
        const labels = series.get(metric)!;
        for (const label of labels.keys()) known.add(label);
        for (const { label, operator, value } of matchers) {
          if (ITS_OWN.includes(label)) continue;
          expect([...labels.keys()], `${of}: ${metric}`).toContain(label);
          const isFree = value.includes('$') || AS_IT_COMES.test(metric);
          const values = isFree ? [] : operator === '=~' ? value.split('|') : [value];
          for (const one of values)
            expect([...labels.get(label)!], `${of}: ${label}`).toContain(one);
        }
      }
      for (const label of grouped) expect([...known], `${of}: by ${label}`).toContain(label);
    }
    for (const { name, definition } of board.templating.list) {
      const [, metric, label] = /^label_values\((\w+), (\w+)\)$/.exec(definition ?? '') ?? [];
      if (definition) expect([...series.get(metric!)!.keys()], name).toContain(label);
    }
  });

  it.each([
    [
      'a small disk',
      40e9,
      [[5e9], [3.9e9, 'GraftDiskFills'], [1.1e9, 'GraftDiskFills', 'GraftDiskFull']],
    ],
    [
      'a large disk',
      4e12,
      [[110e9], [4.9e9, 'GraftDiskFills'], [1.4e9, 'GraftDiskFills', 'GraftDiskFull']],
    ],
  ] as const)('warn about %s shortly before uploads are rejected', (_, size, cases) => {
    for (const [free, ...expected] of cases) {
      const figures = { graft_disk_bytes: size, graft_disk_free_bytes: free };
      const firing = rules
        .filter(({ expr }) => expr.includes('graft_disk'))
        .filter(({ expr }) => valueOf(expr, figures) !== null);
      expect([free, ...firing.map(({ alert }) => alert)]).toEqual([free, ...expected]);
      // The expression's value is the number in the alert's text.
      for (const { expr } of firing) expect(valueOf(expr, figures)).toBe(free);
    }
  });

  it('use only labels in their texts that they group by', () => {
    for (const { of, expr, text } of asked) {
      const named = [...text.matchAll(/\{\{\s*(?:\$labels\.)?(\w+)\s*\}\}/g)].map(([, one]) => one);
      const { grouped } = readPromql(expr);
      // A single unaggregated series keeps all its labels.
      const free = /^up\{/.test(expr) ? ITS_OWN : [];
      for (const label of named) expect([...grouped, ...free], of).toContain(label);
    }
  });

  it('use every metric of Graft, and the documentation lists every metric', async () => {
    const text = await (await scrape(api.apiKey)).text();
    const ours = [...text.matchAll(/^# TYPE (graft_\w+)/gm)].map(([, name]) => name!);
    expect(ours.length).toBeGreaterThan(20);
    const shown = asked.map(({ expr }) => expr).join();
    const page = new URL('../../../docs/guides/operations.md', import.meta.url);
    const documented = readFileSync(page, 'utf8');
    expect(ours.filter((name) => !shown.includes(name))).toEqual([]);
    expect(ours.filter((name) => !documented.includes(name))).toEqual([]);
  });

  it('have panels that do not overlap', () => {
    const places = (board as unknown as { panels: { gridPos: Record<string, number> }[] }).panels;
    const taken = new Set<string>();
    for (const { gridPos } of places) {
      const { x = 0, y = 0, w = 0, h = 0 } = gridPos;
      for (let column = x; column < x + w; column++)
        for (let line = y; line < y + h; line++) {
          expect(taken.has(`${column} ${line}`)).toBe(false);
          taken.add(`${column} ${line}`);
        }
    }
  });
});
