import { once } from 'node:events';
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ChildProcess } from 'node:child_process';
import type { AuditLogObject, PoolObject, ProjectObject } from '@graft/contracts';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { until } from '../e2e/installation.js';
import { API, cleanEnv, graft, startUntil, WORKER, type Done } from './graft.js';

// Commands for projects, members, keys, pools and the audit log, against a real API.
let home: string;
let api: ChildProcess;
let ready: { grpc_url: string; join_token_file: string };
const run = (...args: string[]): Promise<Done> => graft(home, args);
const value = async <T>(...args: string[]): Promise<T> => {
  const { code, out, err } = await run(...args, '--json');
  expect([code, err]).toEqual([0, '']);
  return JSON.parse(out) as T;
};

beforeAll(async () => {
  home = mkdtempSync(join(tmpdir(), 'graft-cli-'));
  chmodSync(home, 0o755);
  const args = ['--home', home, '--port', '0', '--grpc-port', '0'];
  const started = await startUntil(API, args, cleanEnv(), '"warnings"');
  api = started.child;
  ready = JSON.parse(started.text().out) as typeof ready;
});

afterAll(async () => {
  if (api.exitCode === null) {
    api.kill('SIGTERM');
    await once(api, 'exit');
  }
  rmSync(home, { recursive: true, force: true });
});

describe('graft, as an administrator', () => {
  it('creates a project with limits, changes them, and archives it', async () => {
    const made = await run(
      'projects',
      'create',
      'mail',
      '--weight',
      '2',
      '--limit',
      'chats=3',
      '--limit',
      'storage_bytes=1.5G',
    );
    expect(made.code).toBe(0);
    const id = made.out.trim();
    expect(id).toMatch(/^proj-/);
    expect((await run('projects')).out).toMatch(
      new RegExp(`${id} +mail +active +0 +0 +2 +storage_bytes=1.5GB chats=3 `),
    );
    expect((await run('limits', '--project', 'mail')).out).toMatch(/chats +0 +3\n/);
    const changed = await value<ProjectObject>(
      'projects',
      'modify',
      'mail',
      '--name',
      'post',
      '--limit',
      'chats=none',
      '--limit',
      'running_jobs=2',
    );
    expect(changed).toMatchObject({
      id,
      name: 'post',
      graft: { weight: 2, limits: { storage_bytes: 1.5e9, running_jobs: 2 } },
    });
    expect(changed.graft.limits).not.toHaveProperty('chats');
    expect((await run('projects', 'archive', 'post')).out).toBe(`${id} post archived\n`);
    expect((await run('projects')).out).not.toContain(id);
    expect((await run('projects', '--archived')).out).toMatch(new RegExp(`${id} +post +archived`));
  });

  it('deletes a project after confirmation, and restores it', async () => {
    const id = (await run('projects', 'create', 'old mail')).out.trim();
    const wrong = await graft(home, ['projects', 'delete', 'old mail'], 'mail\n');
    expect(wrong).toMatchObject({
      code: 1,
      out: '',
      err: expect.stringContaining('nothing was deleted'),
    });
    expect((await run('projects')).out).toMatch(new RegExp(`${id} +old mail +active`));
    const dialog = await graft(home, ['projects', 'delete', 'old mail'], 'old mail\n');
    expect(dialog.err).toMatch(
      /old mail \(proj-.*\n.*\njobs +0\n.*\nmembers +0\n.*restorable until/s,
    );
    expect([dialog.code, dialog.out]).toEqual([
      0,
      expect.stringMatching(new RegExp(`^${id} old mail will be deleted on 20.*Z\n$`)),
    ]);
    expect((await run('projects', '--archived')).out).toMatch(
      new RegExp(`${id} +old mail +deleted on 20`),
    );
    expect((await run('projects', 'restore', 'old mail')).out).toBe(`${id} old mail active\n`);
    expect((await run('projects', 'delete', id, '--yes')).code).toBe(0);
    const again = await value<ProjectObject>('projects', 'restore', id);
    expect(again).toMatchObject({ id, status: 'active', graft: { deletes_at: null } });
    expect((await run('projects', 'delete', 'proj-default', '--yes')).err).toContain(
      'the default project cannot be deleted',
    );
  });

  it('adds members, whose keys have the rights of their role until they are removed', async () => {
    const project = (await run('projects', 'create', 'lab')).out.trim();
    const added = await run(
      'members',
      'add',
      'ada',
      '--role',
      'owner',
      '--key',
      '--project',
      'lab',
    );
    expect(added.code).toBe(0);
    const secret = added.out.trim();
    const ada = (...args: string[]): Promise<Done> => graft(home, [...args, '--api-key', secret]);
    expect((await ada('keys', 'whoami')).out).toMatch(
      new RegExp(
        `project +${project} lab\nmember +ada, owner\nscopes +jobs:read .*project:admin\n`,
      ),
    );
    // The project of an owner's key is the default, and its only one.
    expect((await ada('members', 'add', 'ben', '--role', 'viewer')).code).toBe(0);
    expect((await ada('projects')).out.match(/proj-/g)).toHaveLength(1);
    expect((await ada('projects', 'create', 'more')).err).toContain(
      'does not have the scope admin',
    );
    const beyond = await ada(
      'keys',
      'create',
      'too much',
      '--member',
      'ben',
      '--scope',
      'jobs:write',
    );
    expect(beyond).toMatchObject({
      code: 1,
      err: expect.stringContaining('a key of a viewer can have'),
    });
    const ben = (await ada('keys', 'create', 'laptop', '--member', 'ben')).out.trim();
    const asBen = (...args: string[]): Promise<Done> => graft(home, [...args, '--api-key', ben]);
    expect((await asBen('jobs')).code).toBe(0);
    expect((await asBen('members')).err).toContain('does not have the scope project:admin');
    expect((await ada('keys', 'list')).out).toMatch(
      /laptop +ben +jobs:read files:read models:read/,
    );
    expect((await run('keys', 'list', '--project', 'lab')).out).toMatch(/laptop +ben/);
    expect((await ada('members', 'role', 'ben', 'member')).out).toMatch(/ben member\n$/);
    expect((await ada('members')).out).toMatch(/ben +member +1 /);
    expect((await ada('members', 'remove', 'ben')).out).toMatch(/removed\n$/);
    expect(await asBen('jobs')).toMatchObject({
      code: 1,
      err: expect.stringContaining('invalid, revoked'),
    });
    expect((await ada('members', 'remove', 'ben')).err).toContain('no member named ben');
  });

  it('grants, closes and opens pools', async () => {
    await run('projects', 'create', 'rich');
    expect((await run('pools')).out).toMatch(/default +active +0 +0 +0\/0 +none +all projects/);
    expect((await run('pools', 'grant', 'gpus', 'rich')).out).toBe('gpus is open to rich\n');
    expect((await run('pools', 'revoke', 'gpus', 'rich')).out).toBe('gpus is open to no project\n');
    expect((await run('pools', 'revoke', 'gpus', 'rich')).err).toContain('gpus is not granted to');
    const opened = await value<PoolObject>('pools', 'open', 'gpus');
    expect(opened).toMatchObject({ id: 'gpus', open: true, grants: [] });
    expect((await run('pools', 'close', 'gpus')).out).toBe('gpus is open to no project\n');
    expect((await run('pools', 'open', 'none')).err).toContain('no such pool: none');
    expect((await run('pools', 'grant', 'gpus', 'unknown')).err).toContain(
      'no project named unknown',
    );
  });

  it('shows a pool, and cordons and uncordons it', async () => {
    expect((await run('pools', 'show', 'gpus')).out).toBe(
      [
        'pool     gpus, active',
        'open to  no project',
        'queued   0',
        'running  0 on 0 slots, 0 free',
        'workers  none',
        'hour     peak queue 0',
        '',
      ].join('\n'),
    );
    expect((await run('pools', 'cordon', 'gpus')).out).toBe(
      'gpus is cordoned; running jobs continue\n',
    );
    expect((await run('pools')).out).toMatch(/gpus +cordoned/);
    expect(await value<PoolObject>('pools', 'uncordon', 'gpus')).toMatchObject({ cordoned: false });
    expect((await run('pools', 'cordon', 'none')).err).toContain('no such pool: none');
  });

  it('cordons, uncordons and removes workers by name', async () => {
    const { grpc_url: url, join_token_file: token } = ready;
    const where = ['--url', `grpc://${url}`, '--token-file', token, '--home', join(home, 'w')];
    const env = cleanEnv({ GRAFT_LOG_LEVEL: 'info' });
    const { child: worker } = await startUntil(
      WORKER,
      [...where, '--name', 'one'],
      env,
      '"connected"',
    );
    try {
      expect((await run('workers', 'cordon', 'one')).out).toBe(
        'one is cordoned; running jobs continue\n',
      );
      expect((await run('workers')).out).toMatch(/one +default +cordoned/);
      expect((await run('workers', 'uncordon', 'one')).out).toBe('one accepts jobs and chats\n');
      expect((await run('workers', 'remove', 'one')).err).toContain('is online: drain or stop it');
      const gone = once(worker, 'exit');
      expect((await run('workers', 'drain', 'one')).out).toBe('one is draining\n');
      expect((await gone)[0]).toBe(0);
    } finally {
      worker.kill('SIGKILL');
    }
    // The API may notice the exit a moment later.
    await until('the end of its stream', async () =>
      (await run('workers')).out.includes('offline'),
    );
    expect((await run('workers', 'remove', 'one')).out).toMatch(/^worker-\w+ removed\n$/);
    expect((await run('workers', 'drain', 'one')).err).toContain('no worker named one');
  });

  it('shows the audit log', async () => {
    const rows = await value<AuditLogObject[]>(
      'audit',
      '--project',
      'rich',
      '--type',
      'pool.granted',
    );
    expect(rows).toMatchObject([{ type: 'pool.granted', graft: { target: 'gpus' } }]);
    const { out } = await run('audit', '--project', 'rich');
    expect(out).toMatch(/pool.revoked +gpus +admin +\S*127\.0\.0\.1 +rich/);
    expect((await run('audit', '-n', '2')).out.trim().split('\n')).toHaveLength(3);
    expect((await run('audit', '--target', 'nothing')).out).toBe('no matching entries\n');
  });

  it('recovers admin access while the API is running', async () => {
    const made = await run('admin-key');
    expect(made).toMatchObject({ code: 0, err: expect.stringContaining('save this secret now') });
    const key = made.out.trim();
    expect((await graft(home, ['projects', '--api-key', key])).code).toBe(0);
    expect((await run('audit', '-n', '1')).out).toMatch(/api_key.created +\w+ +system /);
  });

  it('backs up the installation, and restores it elsewhere', async () => {
    const [backup, other] = ['backup', 'other'].map((name) => join(home, name)) as [string, string];
    const made = await run('admin', 'backup', backup);
    expect(made).toMatchObject({ code: 0, err: expect.stringContaining('copying the database') });
    expect((await run('admin', 'verify', backup)).out).toMatch(/is complete: \d+ blobs/);
    expect(await graft(other, ['admin', 'restore', backup])).toMatchObject({ code: 0 });
    expect(await run('admin', 'restore', backup)).toMatchObject({
      code: 1,
      err: expect.stringContaining('already contains a database'),
    });
    expect(await run('admin', 'verify', join(home, 'nothing'))).toMatchObject({
      code: 1,
      err: expect.stringContaining('contains no complete backup'),
    });
  });

  it('rejects invalid arguments', async () => {
    for (const args of [
      ['projects', 'create', 'x', '--limit', 'chats'],
      ['projects', 'create', 'x', '--limit', 'chats=many'],
      ['projects', 'create', 'x', '--limit', 'cats=3'],
      ['projects', 'create', 'x', '--weight', '0'],
      ['members', 'add', 'x', '--role', 'king'],
      ['members', 'role', 'x', 'king'],
    ])
      expect(await run(...args), args.join(' ')).toMatchObject({ code: 2, out: '' });
  });
});
