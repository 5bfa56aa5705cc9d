/** The addon is loaded on first use only, also in worker threads, and a failure explains what to do. */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import { describe, expect, it } from 'vitest';
import { kernelsInfo, memory, tensor, tidy, trimMemory, zeros } from './index.js';

const directory = fileURLToPath(new URL('..', import.meta.url));
const built = join(directory, 'dist/index.js'); // these tests run outside the test runner, so they use the built library

function runModule(code: string, env: Record<string, string> = {}): string {
  return execFileSync(process.execPath, ['--input-type=module', '-e', code], {
    encoding: 'utf8',
    env: { ...process.env, ...env },
  });
}

describe('loading', () => {
  it('imports without a build; the first call explains how to build', () => {
    const code = `
      const k = await import(${JSON.stringify(built)});
      process.stdout.write('imported;');
      try { k.zeros([1]); } catch (error) { process.stdout.write([error instanceof k.KernelError, error.op, error.message].join(';')); }`;
    expect(runModule(code, { GRAFT_KERNELS: '/nowhere/kernels.node' })).toBe(
      'imported;true;load;the native kernels are not built (/nowhere/kernels.node is missing); run `node libs/kernels/scripts/build.mjs`',
    );
  });

  it('returns the result of a first call without arguments', () => {
    const code = `
      const k = await import(${JSON.stringify(built)});
      const sets = k.instructionSets().length;
      process.stdout.write(JSON.stringify(sets === k.instructionSets().length));`;
    expect(runModule(code, { GRAFT_ISA: 'generic' })).toBe('true');
  });

  it('explains an addon that does not load', () => {
    const folder = mkdtempSync(join(tmpdir(), 'graft-native-'));
    writeFileSync(join(folder, 'kernels.node'), 'not a library');
    writeFileSync(join(folder, 'build.json'), JSON.stringify({ lib: '/some/libtorch' }));
    const code = `
      const k = await import(${JSON.stringify(built)});
      try { k.getThreads(); } catch (error) { process.stdout.write(error.message); }`;
    const message = runModule(code, { GRAFT_KERNELS: join(folder, 'kernels.node') });
    expect(message).toContain('cannot load the native kernels (built against /some/libtorch)');
    expect(message).toContain('scripts/build.mjs');
    rmSync(folder, { recursive: true });
  });
});

describe('GRAFT_ISA', () => {
  const code = `
    const k = await import(${JSON.stringify(built)});
    const { native } = await import(${JSON.stringify(join(directory, 'dist/native.js'))});
    const tried = (run) => { try { return run(); } catch (error) { return error.message; } };
    const own = tried(() => k.instructionSet());
    const aten = /CPU capability usage: (\\w+)/.exec(tried(() => native().build().config))?.[1];
    const { ONEDNN_MAX_CPU_ISA: oneDnn, MKL_CBWR: mkl } = process.env;
    process.stdout.write(JSON.stringify({ own, aten, oneDnn, mkl, better: tried(() => k.instructionSet('avx512bf16')) }));`;
  const under = (name: string): Record<string, string> =>
    JSON.parse(runModule(code, { GRAFT_ISA: name })) as Record<string, string>;

  it("limits our kernels and libtorch's", () => {
    expect(under('generic')).toMatchObject({
      own: 'generic',
      aten: 'DEFAULT',
      oneDnn: 'SSE41',
      mkl: 'COMPATIBLE',
      better: expect.stringContaining('or GRAFT_ISA excludes it') as string,
    });
    const avx2 = under('avx2');
    if (avx2['own'] !== 'generic') expect(avx2).toMatchObject({ own: 'avx2', aten: 'AVX2' });
    expect(avx2['oneDnn']).toBe('AVX2');
  });

  it('rejects an unknown name', () => {
    expect(under('sse9')['own']).toBe(
      'GRAFT_ISA must be one of generic, avx2, avx512, avx512bf16, amx, got "sse9"',
    );
  });
});

describe('threads', () => {
  it('have their own handles; tensors are not shared', async () => {
    const mine = tensor([1, 2], [2]);
    const before = memory().tensors;
    const code = `
      const { parentPort, workerData } = require('node:worker_threads');
      import(workerData).then((k) => {
        const x = k.tensor([1, 2, 3], [3]);
        x.requiresGrad = true;
        k.sum(k.mul(x, x)).backward();
        parentPort.once('message', (sent) => {
          let refused = '';
          try { k.add(sent, 1); } catch (error) { refused = error.message; }
          parentPort.postMessage({ grad: [...x.grad.toArray()], live: k.memory().tensors, refused });
        });
        parentPort.postMessage('ready');
      });`;
    const worker = new Worker(code, { eval: true, workerData: built });
    const message = (): Promise<unknown> =>
      new Promise((done, fail) => worker.once('message', done).once('error', fail));
    await message();
    worker.postMessage(mine);
    const { grad, live, refused } = (await message()) as {
      grad: number[];
      live: number;
      refused: string;
    };
    await worker.terminate();
    expect(grad).toEqual([2, 4, 6]);
    expect(live).toBeLessThan(10);
    expect(refused).toContain('cannot pass [object Object]');
    expect(memory().tensors).toBe(before);
    expect([...mine.toArray()]).toEqual([1, 2]);
    mine.dispose();
  });

  it('can start and end', async () => {
    const code = `import(require('node:worker_threads').workerData).then((k) => k.zeros([1000]));`;
    for (let i = 0; i < 5; i++) {
      const worker = new Worker(code, { eval: true, workerData: built });
      expect(await new Promise((done) => worker.once('exit', done))).toBe(0);
    }
  });
});

describe('runtime', () => {
  it('describes the build', () => {
    const info = kernelsInfo();
    expect(info.libtorch).toMatch(/^2\.\d+\.\d+/);
    expect(info.ownOps).toEqual(
      expect.arrayContaining(['graft::dropout', 'graft::normal', 'graft::uniform']),
    );
    expect(info.threads).toBeGreaterThan(0);
    expect(info.blas).toMatch(/^\w+$/);
  });

  it('keeps freed memory for reuse and returns it on request', () => {
    tidy(() => void zeros([64, 1_000_000], 'u8')); // below the limit above which the system maps each block separately
    trimMemory();
    const idle = memory().rssBytes;
    tidy(() => {
      for (let i = 0; i < 8; i++) zeros([16_000_000], 'u8');
    });
    const kept = memory().rssBytes - idle;
    trimMemory();
    const after = memory().rssBytes - idle;
    expect(kept).toBeGreaterThan(60e6);
    expect(after).toBeLessThan(20e6);
    expect(memory().peakRssBytes).toBeGreaterThan(idle + 100e6);
  });
});

describe.skipIf(process.env['GRAFT_KERNELS'])('set-up', () => {
  const script = join(directory, 'scripts/libtorch.mjs');

  it('finds the libtorch that the addon was built against', () => {
    const found = spawnSync(process.execPath, [script, '--find'], { encoding: 'utf8' });
    expect(JSON.parse(found.stdout)).toMatchObject({
      version: kernelsInfo().libtorch.replace(/\+.*/, ''),
    });
  });

  it('rejects a LIBTORCH that is not libtorch', () => {
    const env = { ...process.env, LIBTORCH: tmpdir() };
    const found = spawnSync(process.execPath, [script, '--find'], { encoding: 'utf8', env });
    expect(found.status).toBe(1);
    expect(found.stderr).toContain(`LIBTORCH=${tmpdir()} has no include/`);
  });

  it('does nothing the second time', () => {
    const again = spawnSync(process.execPath, [join(directory, 'scripts/build.mjs')], {
      encoding: 'utf8',
    });
    expect(again.stderr).toContain('up to date');
  });
});
