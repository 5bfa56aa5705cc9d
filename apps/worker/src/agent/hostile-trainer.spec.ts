import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, describe, expect, it } from 'vitest';
import { until } from '../../test/control-plane.js';
import { useScene } from '../../test/scene.js';

const scene = useScene();
const SECRET = 'what no trainer may read';
const ref = {
  name: 'secret.txt',
  sha256: createHash('sha256').update(SECRET).digest('hex'),
  size: SECRET.length,
};
let elsewhere: string;

beforeEach(() => {
  elsewhere = join(scene.home, 'elsewhere');
  mkdirSync(elsewhere);
  writeFileSync(join(elsewhere, ref.name), SECRET, { mode: 0o600 });
});

/** Lets a trainer that says these facts run, and waits for how its job ends. */
async function claim(claims: object[], links: Record<string, string> = {}) {
  await scene.startAgent();
  await scene.pulled();
  scene.plane.assign({ plan: { claims, links } });
  return until('the end', () => scene.plane.fact('failed') ?? scene.plane.fact('finished'));
}

/** The file elsewhere is as it was, and went nowhere. */
function untouched(): void {
  const path = join(elsewhere, ref.name);
  expect(existsSync(path)).toBe(true);
  expect(readFileSync(path, 'utf8')).toBe(SECRET);
  expect(statSync(path)).toMatchObject({ mode: 0o100600, nlink: 1 });
  expect(scene.plane.puts).toEqual([]);
  expect(readdirSync(join(scene.home, 'cache', 'blobs'))).not.toContain(ref.sha256);
}

const saved = (part: object) => ({ type: 'saved', step: 1, files: [], adapter: [], ...part });
const END = { type: 'failed', code: 'crash', message: 'over', param: null, retryable: true };
const FINISHED = { type: 'finished', step: 1, adapter: [ref], trainedTokens: 1, peakRssBytes: 1 };

describe('a hostile trainer', () => {
  it('names a folder elsewhere: nothing there is deleted', async () => {
    await claim([saved({ dir: elsewhere }), END]);
    untouched();
  });

  it('names files elsewhere: they are not read, kept or changed', async () => {
    await claim([saved({ dir: elsewhere, files: [ref], adapter: [ref] }), END]);
    untouched();
    expect(scene.plane.fact('saved')).toBeUndefined();
    expect(scene.plane.fact('log')?.message).toContain('a checkpoint could not be uploaded');
  });

  it('makes its checkpoint a link to a folder elsewhere: the folder is not read and not emptied', async () => {
    await claim([saved({ files: [ref] }), saved({ step: 2 }), END], {
      'checkpoint-1': elsewhere,
      'checkpoint-2': elsewhere,
    });
    untouched();
    expect(scene.plane.fact('saved')).toBeUndefined();
  });

  it('makes its adapter a link to a folder elsewhere, or names one: the job fails', async () => {
    const failed = await claim([{ ...FINISHED, dir: elsewhere }], { adapter: elsewhere });
    expect(failed).toMatchObject({ code: 'io_error' });
    untouched();
  });

  it('names files by paths, and steps by words', async () => {
    const path = `../../../../elsewhere/${ref.name}`;
    await claim([
      saved({ files: [{ ...ref, name: path }] }),
      saved({ step: '1/../../../../elsewhere', files: [ref] }),
      saved({ files: [{ ...ref, sha256: '../../elsewhere/planted' }] }),
      END,
    ]);
    untouched();
    expect(existsSync(join(elsewhere, 'planted'))).toBe(false);
  });
});
