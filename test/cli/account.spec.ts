// graft login, logout, status and open, and completion of names, against a real API.
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'; // prettier-ignore
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { JobObject } from '@graft/contracts';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import {
  importBase,
  startTestApi,
  uploadChats,
  until,
  type TestApi,
} from '../../apps/api/test/fixture.js';
import { graft, onTerminal, type Done } from './graft.js';

let api: TestApi;
let job: JobObject;
const run = (...args: string[]): Promise<Done> => graft(api.home, args);

beforeAll(async () => {
  api = await startTestApi();
  await importBase(api);
  job = await api.post<JobObject>('/fine_tuning/jobs', {
    model: 'tiny',
    suffix: 'pirate',
    training_file: await uploadChats(api),
  });
});
afterAll(() => api?.close());

/** A home folder of another machine. */
function emptyHome(): string {
  const home = mkdtempSync(join(tmpdir(), 'graft-cli-login-'));
  onTestFinished(() => rmSync(home, { recursive: true, force: true }));
  return home;
}

describe('graft login', () => {
  it('asks for the key without showing it, checks it and stores it for the user only', async () => {
    const home = emptyHome();
    const keys: [string, string][] = [['API key for', `${api.apiKey}\r`]];
    const { code, shown } = await onTerminal(home, ['login', api.url], { keys });
    expect([code, shown]).toEqual([0, expect.stringContaining(`Signed in to ${api.url}/v1`)]);
    expect(shown).not.toContain(api.apiKey);
    expect(statSync(join(home, 'login.json')).mode & 0o777).toBe(0o600);
    expect((await graft(home, ['jobs'])).out).toContain('pirate');
    const out = await graft(home, ['logout']);
    expect(out.out).toContain(`Signed out of ${api.url}`);
    expect(existsSync(join(home, 'login.json'))).toBe(false);
    expect((await graft(home, ['jobs'])).err).toContain('graft login URL');
    expect((await graft(home, ['logout'])).out).toBe('Not signed in.\n');
  });

  it('reads the key from stdin without a terminal, and stores nothing if it is wrong', async () => {
    const home = emptyHome();
    const wrong = await graft(home, ['login', api.url], 'sk-wrong\n');
    expect([wrong.code, existsSync(join(home, 'login.json'))]).toEqual([1, false]);
    expect((await graft(home, ['login', api.url])).err).toContain('no API key');
    expect((await graft(home, ['login'])).err).toContain('specify the address');
    const done = await graft(home, ['login', api.url, '--json'], `${api.apiKey}\n`);
    expect(JSON.parse(done.out)).toMatchObject({ url: `${api.url}/v1` });
  });

  it('is left by Ctrl-C without a trace', async () => {
    const home = emptyHome();
    const { code } = await onTerminal(home, ['login', api.url], { keys: [['API key', '\u0003']] });
    expect([code, existsSync(join(home, 'login.json'))]).toEqual([130, false]);
  });
});

it('graft status shows server, key, jobs, workers and problems', async () => {
  const { code, out } = await run('status');
  expect(code).toBe(0);
  expect(out).toContain(`${api.url}/, version `);
  expect(out).toMatch(/Jobs +1 queued/);
  expect(out).toMatch(/Workers +none yet/);
  expect(out).toMatch(/Problems +\S/);
  const json = JSON.parse((await run('status', '--json')).out) as Record<string, unknown>;
  expect(json).toMatchObject({ overview: { jobs: { queued: 1 } }, workers: [] });
  expect((await run('status', '--url', 'http://127.0.0.1:9')).code).toBe(3);
});

describe('graft open', () => {
  it('prints the page of a job, file or model without a display', async () => {
    for (const name of ['pirate', job.id.slice(6, 14)])
      expect((await run('open', name)).out).toBe(`${api.url}/jobs/${job.id}\n`);
    expect((await run('open')).out).toBe(`${api.url}/\n`);
    expect((await run('open', 'tiny')).out).toBe(`${api.url}/chat?model=tiny\n`);
    expect((await run('open', job.training_file!)).out).toContain(`/files/${job.training_file}`);
    expect(await run('open', 'nothing')).toMatchObject({
      code: 1,
      err: expect.stringContaining('no job, sweep, model or file named nothing') as string,
    });
  });

  it('starts the browser on a desktop', async () => {
    const bin = emptyHome();
    const opened = join(bin, 'opened');
    writeFileSync(join(bin, 'xdg-open'), `#!/bin/sh\necho "$1" > '${opened}'\n`);
    chmodSync(join(bin, 'xdg-open'), 0o755);
    const extra = { DISPLAY: ':9', PATH: `${bin}:${process.env['PATH']}` };
    const { shown } = await onTerminal(api.home, ['open', 'pirate'], { extra });
    expect(shown).toContain('Opened ');
    await until(() => existsSync(opened) && readFileSync(opened, 'utf8').includes(job.id));
  });
});

it('explains answers that are not JSON', async () => {
  const proxy = createServer((_request, response) => {
    response.writeHead(502, { 'content-type': 'text/html' }).end('<html>Bad gateway</html>');
  });
  await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => void proxy.close());
  const url = `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`;
  const { code, err } = await run('jobs', '--url', url);
  expect([code, err]).toEqual([
    1,
    `graft: ${url} answered with HTTP 502 and a web page instead of JSON; check the address (--url, GRAFT_URL) and any proxy in front of the API\n`,
  ]);
});

describe('completion of names', () => {
  const values = async (...words: string[]): Promise<string[]> =>
    (await run('complete', '--', ...words)).out
      .split('\n')
      .filter((line) => line !== '' && !line.startsWith(':'))
      .map((line) => line.split('\t')[0]!);

  it('asks the API for jobs, models, files, methods, tasks and pools', async () => {
    expect(await values('watch', '')).toEqual(['pirate']);
    expect(await values('jobs', 'pi')).toEqual(['pirate']);
    expect(await values('chat', 't')).toContain('tiny');
    expect(await values('submit', '-m', '')).toContain('tiny');
    expect(await values('submit', '--model=ti')).toEqual(['--model=tiny']);
    expect(await values('submit', '--method', 'Do')).toEqual(['DoRA']);
    expect(await values('submit', '--task', 'seq')).toContain('seq_cls');
    expect(await values('pools', 'show', '')).toContain('default');
    expect(await values('files', 'show', '')).toHaveLength(1);
    expect(await values('help', 'getting')).toEqual(['getting-started']);
  });

  it('names jobs and files in receipt, job interrupt and files revise', async () => {
    const [, file = ''] = /^file-(\w+)$/.exec(job.training_file ?? '') ?? [];
    const one = await values('files', 'show', '');
    expect(await values('receipt', '')).toEqual(['show', 'compare', 'help', 'pirate']);
    expect(await values('receipt', 'pi')).toEqual(['pirate']);
    expect(await values('receipt', '--o')).toEqual(['--out']);
    expect(await values('receipt', 'show', '')).toEqual(['pirate']);
    expect(await values('receipt', 'compare', '')).toEqual(['pirate']);
    expect(await values('receipt', 'compare', 'pirate', '')).toEqual(['pirate']);
    expect((await run('complete', '--', 'receipt', 'compare', 'x')).out).toBe(':0\n');
    expect(await values('job', 'interrupt', '')).toEqual(['pirate']);
    expect(await values('job', 'interrupt', 'pirate', '--f')).toEqual(['--force']);
    expect(await values('files', 'revise', '')).toEqual(one);
    expect(await values('files', 'revise', file, '--hold-out-as', '')).toEqual(['pirate']);
    expect(await values('files', 'revise', file, '--hold-out-as=p')).toEqual([
      '--hold-out-as=pirate',
    ]);
  });

  it('lets the shell complete local files where they fit', async () => {
    expect((await run('complete', '--', 'files', 'upload', '')).out).toBe(':0\n');
    expect((await run('complete', '--', 'submit', '--train', 'x')).out).toBe(':0\n');
    expect((await run('complete', '--', 'watch', 'x')).out).toBe(':4\n');
  });

  it('prints nothing, and does not hang, without an API', async () => {
    const silent = createServer(() => undefined);
    await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve));
    onTestFinished(() => {
      silent.closeAllConnections();
      silent.close();
    });
    const home = emptyHome();
    const { port } = silent.address() as AddressInfo;
    for (const url of [`http://127.0.0.1:${port}`, 'http://127.0.0.1:9']) {
      const env = { GRAFT_URL: url, GRAFT_API_KEY: 'k' };
      expect(await graft(home, ['complete', '--', 'jobs', ''], '', env)).toEqual({
        code: 0,
        out: ':4\n',
        err: '',
      });
    }
    mkdirSync(join(home, 'broken'));
    writeFileSync(join(home, 'broken', 'graft.json'), 'not JSON');
    const broken = await graft(join(home, 'broken'), ['complete', '--', 'jobs', '']);
    expect(broken).toEqual({ code: 0, out: ':4\n', err: '' });
  });
});
