// Each invariant has planted violations that it must find. It must find none in a clean record.
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer, connect } from 'node:net';
import { once } from 'node:events';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { check, type Evidence, type Invariant } from './battery/checker.js';
import { FaultyProxy } from './battery/faulty-proxy.js';
import { History } from './battery/history.js';
import { Random } from './battery/random.js';

const CLEAN: Evidence = {
  history: [
    { atMs: 1, kind: 'invoke', call: 0, what: 'create', subject: 'token-1' },
    { atMs: 2, kind: 'info', call: 0, what: 'create', subject: 'token-1' },
    { atMs: 3, kind: 'invoke', call: 1, what: 'create', subject: 'token-1' },
    { atMs: 4, kind: 'ok', call: 1, what: 'create', subject: 'token-1', job: 'job-1' },
    { atMs: 5, kind: 'invoke', call: 2, what: 'create', subject: 'token-2' },
    { atMs: 6, kind: 'fail', call: 2, what: 'create', subject: 'token-2' },
    { atMs: 7, kind: 'ok', call: 3, what: 'cancel', subject: 'job-2', status: 'cancelled' },
  ],
  jobs: [
    {
      id: 'job-1',
      state: 'succeeded',
      attempt: 2,
      total_steps: 2,
      step: 2,
      replay_mismatches: 0,
      error: null,
      token: 'token-1',
      control: 'one',
      adapter: 'aa',
    },
    {
      id: 'job-2',
      state: 'cancelled',
      attempt: 1,
      total_steps: null,
      step: 0,
      replay_mismatches: 0,
      error: null,
      token: null,
      control: null,
      adapter: null,
    },
  ],
  attempts: [
    { job_id: 'job-1', number: 1, assignedMs: 10, endedMs: 20, from_step: 0, outcome: 'crash' },
    { job_id: 'job-1', number: 2, assignedMs: 21, endedMs: 30, from_step: 1, outcome: 'done' },
  ],
  metrics: [
    { job_id: 'job-1', attempt: 1, step: 1, loss: '2.5' },
    { job_id: 'job-1', attempt: 2, step: 1, loss: '2.5' },
    { job_id: 'job-1', attempt: 2, step: 2, loss: '1.5' },
  ],
  witnesses: [],
  events: new Map([['job-1', [1, 2, 3]]]),
  watched: [{ job: 'job-1', seen: [1, 2, 3] }],
  named: [{ owner: 'model 1', sha256: 'aa' }],
  // `cc` has no file: rows are committed before the bytes.
  blobs: ['aa', 'cc'],
  // `bb` has no row: a killed process leaves such files, which a later sweep deletes.
  files: new Map([
    ['aa', 'aa'],
    ['bb', 'bb'],
  ]),
  unsentForMs: [300],
  controls: new Map([
    [
      'one',
      {
        adapter: 'aa',
        losses: new Map([
          [1, '2.5'],
          [2, '1.5'],
        ]),
      },
    ],
  ]),
};

const [JOB, CANCELLED] = CLEAN.jobs as [Evidence['jobs'][number], Evidence['jobs'][number]];
const [FIRST, SECOND] = CLEAN.attempts as [
  Evidence['attempts'][number],
  Evidence['attempts'][number],
];
const [, , LAST] = CLEAN.metrics as [unknown, unknown, Evidence['metrics'][number]];
const jobs = (changes: Partial<Evidence['jobs'][number]>): Partial<Evidence> => ({
  jobs: [{ ...JOB, ...changes }, CANCELLED],
});

const PLANTED: readonly (readonly [Invariant, string, Partial<Evidence>])[] = [
  ['I1', 'an acknowledged job is lost', { jobs: [CANCELLED] }],
  [
    'I1',
    'one creation made two jobs',
    { jobs: [JOB, { ...JOB, id: 'job-3', control: null }, CANCELLED] },
  ],
  [
    'I1',
    'a client received two job ids',
    {
      history: [
        ...CLEAN.history,
        { atMs: 8, kind: 'ok', call: 4, what: 'create', subject: 'token-1', job: 'job-2' },
      ],
    },
  ],
  ['I1', 'a rejected creation made a job', { jobs: [JOB, { ...CANCELLED, token: 'token-2' }] }],
  ['I2', 'a job never ends', jobs({ state: 'queued' })],
  ['I2', 'a job fails without a reason', jobs({ state: 'failed' })],
  [
    'I2',
    'a cancelled job succeeds',
    { jobs: [JOB, { ...CANCELLED, state: 'succeeded', total_steps: 0 }] },
  ],
  ['I2', 'a job is finished twice', { attempts: [{ ...FIRST, outcome: 'done' }, SECOND] }],
  [
    'I3',
    'a metric of an older attempt was written',
    {
      witnesses: [{ job_id: 'job-1', what: 'metric', attempt: 1, current: 2, state: 'running' }],
    },
  ],
  [
    'I3',
    'a checkpoint of a cancelled job was written',
    {
      witnesses: [
        { job_id: 'job-2', what: 'checkpoint', attempt: 1, current: 1, state: 'cancelled' },
      ],
    },
  ],
  ['I4', 'a step is missing', { metrics: CLEAN.metrics.slice(0, 2) }],
  ['I4', 'there is an extra step', { metrics: [...CLEAN.metrics, { ...LAST, step: 3 }] }],
  ['I5', 'the adapter differs in its bytes', jobs({ adapter: 'ab' })],
  [
    'I5',
    'a loss differs in its last digit',
    {
      metrics: [...CLEAN.metrics.slice(0, 2), { ...LAST, loss: '1.5000000000000002' }],
    },
  ],
  ['I6', 'a referenced blob has no row', { blobs: [] }],
  ['I6', 'a referenced blob has no file', { files: new Map() }],
  ['I6', 'a bit of a file differs', { files: new Map([['aa', 'ac']]) }],
  ['I7', 'two attempts overlap', { attempts: [{ ...FIRST, endedMs: 22 }, SECOND] }],
  ['I7', 'an attempt never ends', { attempts: [FIRST, { ...SECOND, endedMs: null }] }],
  ['I7', 'an attempt is newer than that of its job', jobs({ attempt: 1 })],
  ['I8', 'an event number is missing', { events: new Map([['job-1', [1, 3]]]) }],
  ['I8', 'a client misses an event', { watched: [{ job: 'job-1', seen: [1, 3] }] }],
  ['I8', 'a client receives an event twice', { watched: [{ job: 'job-1', seen: [1, 2, 2, 3] }] }],
  ['I9', 'a wake-up is never sent', { unsentForMs: [20_001] }],
  ['I13', 'a replayed step differs', jobs({ replay_mismatches: 1 })],
];

describe('check', () => {
  it('finds no violation in a clean record', () => expect(check(CLEAN)).toEqual([]));

  it.each(PLANTED)('%s: %s', (invariant, _, changes) => {
    const found = check({ ...CLEAN, ...changes });
    expect(found.map((violation) => violation.invariant)).toContain(invariant);
  });
});

describe('History', () => {
  it('records for each call whether it succeeded, failed or is unknown, and writes it to a file', async () => {
    const dir = mkdtempSync(join(tmpdir(), 'graft-history-'));
    try {
      const history = new History(join(dir, 'history.ndjson'));
      await history.call('create', 'a', async () => ({ id: 'job-1', status: 'queued' }));
      const refused = Object.assign(new Error('no'), { status: 404 });
      await history.call('cancel', 'b', () => Promise.reject(refused));
      await history.call('pause', 'c', () =>
        Promise.reject(Object.assign(new Error('?'), { status: 503 })),
      );
      await history.call('pause', 'd', () => Promise.reject(new Error('socket hang up')));
      const kinds = history.entries.map(({ kind }) => kind);
      expect(kinds).toEqual(['invoke', 'ok', 'invoke', 'fail', 'invoke', 'info', 'invoke', 'info']);
      const lines = readFileSync(join(dir, 'history.ndjson'), 'utf8').trim().split('\n');
      expect(lines.map((line) => JSON.parse(line) as unknown)).toEqual(history.entries);
    } finally {
      rmSync(dir, { recursive: true });
    }
  });
});

describe('Random', () => {
  it('depends only on the seed', () => {
    const draw = (seed: number) => {
      const random = new Random(seed);
      return Array.from({ length: 5 }, () => random.next());
    };
    expect(draw(1)).toEqual(draw(1));
    expect(draw(1)).not.toEqual(draw(2));
    for (const value of draw(3)) expect(value >= 0 && value < 1).toBe(true);
  });
});

describe('FaultyProxy', () => {
  async function line() {
    const server = createServer((socket) => socket.pipe(socket)).listen(0, '127.0.0.1');
    await once(server, 'listening');
    const proxy = await FaultyProxy.to((server.address() as { port: number }).port);
    const client = connect(proxy.port, '127.0.0.1');
    client.on('error', () => undefined);
    const pieces: string[] = [];
    client.on('data', (bytes) => pieces.push(bytes.toString()));
    await once(client, 'connect');
    const close = (): void => {
      client.destroy();
      proxy.close();
      server.close();
    };
    const received = async (text: string): Promise<boolean> => {
      for (let n = 0; n < 1000 && pieces.join('') !== text; n++)
        await new Promise((resolve) => setTimeout(resolve, 10));
      return pieces.join('') === text;
    };
    return { proxy, client, heard: received, pieces, close };
  }

  it('forwards bytes, in chunks if configured, and loses none while it is silent', async () => {
    const { proxy, client, heard: received, pieces, close } = await line();
    client.write('hello');
    expect(await received('hello')).toBe(true);
    proxy.become({ silent: 'back' });
    client.write(' there');
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect(pieces.join('')).toBe('hello');
    proxy.become({ slice: 2, latencyMs: 5 });
    expect(await received('hello there')).toBe(true);
    close();
  });

  it('resets connections', async () => {
    const { proxy, client, close } = await line();
    const closed = new Promise((resolve) => client.once('close', resolve));
    proxy.reset();
    await closed;
    close();
  });
});
