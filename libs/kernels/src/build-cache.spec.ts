/** Cache of compiled addons (scripts/cache.mjs), tested with plain files. */
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

interface Order {
  folder: string | null;
  key: string;
  to: string;
  make: () => Promise<string>;
  log: (line: string) => void;
  largest?: number;
}

const SCRIPT = fileURLToPath(new URL('../scripts/cache.mjs', import.meta.url));
const { addonFromCache, cacheFolder, linkTree, withLock } = (await import(SCRIPT)) as {
  addonFromCache(order: Order): Promise<boolean>;
  cacheFolder(env: Record<string, string>): string | null;
  linkTree(from: string, to: string): void;
  withLock<T>(path: string, work: () => Promise<T>, how?: { onWait?: () => void }): Promise<T>;
};

let directory: string;
let folder: string;
let said: string[];
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'graft-build-cache-'));
  folder = join(directory, 'cache/kernels');
  said = [];
});
afterEach(() => rmSync(directory, { recursive: true }));

/** Builds in a checkout whose compiler writes `text`. @returns the checkout's file, and whether it compiled */
async function buildIn(checkout: string, key: string, text: string, more: Partial<Order> = {}) {
  const to = join(directory, checkout, 'build/kernels.node');
  let compiled = 0;
  const make = (): Promise<string> => {
    compiled++;
    const made = join(directory, `${checkout}-made`);
    writeFileSync(made, text);
    return Promise.resolve(made);
  };
  const log = (line: string): void => void said.push(line);
  const isCached = await addonFromCache({ folder, key, to, make, log, ...more });
  expect(isCached).toBe(compiled === 0);
  return { has: readFileSync(to, 'utf8'), compiled, mode: statSync(to).mode & 0o777 };
}

const entries = (): string[] => readdirSync(folder).filter((name) => !name.endsWith('.lock'));

describe('compiled addons', () => {
  it('are shared by checkouts, and outlive the one that compiled them', async () => {
    expect(await buildIn('one', 'k1', 'addon')).toMatchObject({ has: 'addon', compiled: 1 });
    rmSync(join(directory, 'one'), { recursive: true });
    expect(await buildIn('two', 'k1', 'never')).toEqual({ has: 'addon', compiled: 0, mode: 0o755 });
  });

  it('are recompiled for another key', async () => {
    await buildIn('one', 'k1', 'before');
    expect(await buildIn('one', 'k2', 'after')).toMatchObject({ has: 'after', compiled: 1 });
    expect(await buildIn('one', 'k1', 'never')).toMatchObject({ has: 'before', compiled: 0 });
  });

  it('are compiled without a cache, leaving no files', async () => {
    expect(await buildIn('one', 'k1', 'a', { folder: null })).toMatchObject({ compiled: 1 });
    expect(await buildIn('two', 'k1', 'b', { folder: null })).toMatchObject({ has: 'b' });
    expect(existsSync(join(directory, 'cache'))).toBe(false);
  });

  it.each([
    ['cut short', (entry: string) => truncateSync(join(entry, 'addon.node'), 3)],
    ['changed', (entry: string) => writeFileSync(join(entry, 'addon.node'), 'addoN')],
    ['incomplete', (entry: string) => rmSync(join(entry, 'sha256'))],
  ])('are recompiled if the cached one is %s', async (_, damage) => {
    await buildIn('one', 'k1', 'addon');
    damage(join(folder, 'k1'));
    expect(await buildIn('two', 'k1', 'again')).toMatchObject({ has: 'again', compiled: 1 });
    expect(said.join()).toContain('is damaged');
    expect(await buildIn('three', 'k1', 'never')).toMatchObject({ has: 'again', compiled: 0 });
  });

  it('are evicted beyond a size, least recently used first', async () => {
    const ago = (key: string, hours: number): void => {
      const then = new Date(Date.now() - hours * 3_600_000);
      utimesSync(join(folder, key), then, then);
    };
    await buildIn('one', 'k1', '1234');
    await buildIn('one', 'k2', '1234');
    ago('k1', 3);
    ago('k2', 2);
    await buildIn('two', 'k1', 'never'); // used now
    mkdirSync(join(folder, 'k0.partial-1'));
    ago('k0.partial-1', 48);
    await buildIn('one', 'k3', '1234', { largest: 8 });
    expect(entries().sort()).toEqual(['k1', 'k3']);
    await buildIn('one', 'k4', 'larger than all', { largest: 8 });
    expect(entries()).toEqual(['k4']);
  });

  it('are compiled once if two processes need the same one', async () => {
    const program = `
      const { addonFromCache } = await import(${JSON.stringify(SCRIPT)});
      const { appendFileSync, existsSync, writeFileSync } = await import('node:fs');
      const { setTimeout: sleep } = await import('node:timers/promises');
      const [directory, name] = process.argv.slice(1);
      await addonFromCache({
        folder: directory + '/cache/kernels', key: 'k1', to: directory + '/' + name + '/kernels.node',
        async make() {
          appendFileSync(directory + '/compiled', name);
          process.stdout.write('compiling ');
          while (!existsSync(directory + '/go')) await sleep(5);
          writeFileSync(directory + '/made', 'addon');
          return directory + '/made';
        },
        log: (line) => process.stdout.write(line),
      });`;
    const start = (name: string) => {
      const args = ['--input-type=module', '-e', program, directory, name];
      return spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
    };
    const first = start('one');
    await once(first.stdout, 'data');
    const second = start('two');
    const [line] = (await once(second.stdout, 'data')) as [Buffer];
    expect(line.toString()).toContain('waiting');
    const ends = [once(first, 'exit'), once(second, 'exit')];
    writeFileSync(join(directory, 'go'), '');
    expect(await Promise.all(ends)).toEqual([
      [0, null],
      [0, null],
    ]);
    expect(readFileSync(join(directory, 'compiled'), 'utf8')).toBe('one');
    for (const name of ['one', 'two'])
      expect(readFileSync(join(directory, name, 'kernels.node'), 'utf8')).toBe('addon');
  });
});

it('a lock ends with its process in any case', async () => {
  const lock = join(directory, 'lock');
  const program = `
    const { withLock } = await import(${JSON.stringify(SCRIPT)});
    await withLock(${JSON.stringify(lock)}, () => new Promise(() => { process.stdout.write('held'); setInterval(() => {}, 1000); }));`;
  const args = ['--input-type=module', '-e', program];
  const holder = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  await once(holder.stdout, 'data');
  expect(spawnSync('flock', ['-n', lock, 'true']).status).toBe(1);
  let got = false;
  const waits = new Promise<void>((done) => {
    void withLock(lock, () => Promise.resolve(void (got = true)), { onWait: done });
  });
  await waits;
  expect(got).toBe(false);
  holder.kill('SIGKILL');
  await withLock(lock, () => Promise.resolve());
});

it('is in GRAFT_CACHE or the user’s cache directory; GRAFT_CACHE=0 disables it', () => {
  expect(cacheFolder({ GRAFT_CACHE: '/a/b', XDG_CACHE_HOME: '/x' })).toBe('/a/b');
  expect(cacheFolder({ XDG_CACHE_HOME: '/x' })).toBe('/x/graft');
  expect(cacheFolder({ XDG_CACHE_HOME: 'not/absolute' })).toMatch(/^\/.*\/\.cache\/graft$/);
  expect(cacheFolder({})).toMatch(/^\/.*\/\.cache\/graft$/);
  expect(cacheFolder({ GRAFT_CACHE: '0' })).toBeNull();
});

it('a checkout’s libtorch stays when the shared one is deleted', () => {
  const [shared, own] = [
    join(directory, 'libtorch-1'),
    join(directory, 'checkout/.cache/libtorch'),
  ];
  mkdirSync(join(shared, 'lib'), { recursive: true });
  writeFileSync(join(shared, 'lib/libc10.so'), 'library');
  mkdirSync(own, { recursive: true });
  writeFileSync(join(own, 'old'), '');
  linkTree(shared, own);
  expect(statSync(join(own, 'lib/libc10.so')).ino).toBe(
    statSync(join(shared, 'lib/libc10.so')).ino,
  );
  rmSync(shared, { recursive: true });
  expect(readFileSync(join(own, 'lib/libc10.so'), 'utf8')).toBe('library');
  expect(readdirSync(own)).toEqual(['lib']);
});
