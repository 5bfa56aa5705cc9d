// The API of another build as a separate process, next to an API of this build on the same database.
import { spawn, type ChildProcess } from 'node:child_process';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import OpenAI from 'openai';
import type { TestApi } from '../../apps/api/test/fixture.js';

export interface ApiProcess {
  /** The process, for helpers that expect the API of a test. */
  readonly api: Pick<TestApi, 'home' | 'url' | 'grpcUrl' | 'joinToken' | 'client' | 'get' | 'post'>;
  /** Lines of its log of level `error` or higher. */
  readonly errors: () => string[];
  stop(): Promise<void>;
}

/**
 * Starts the API whose compiled files are in a folder.
 * @param sibling API whose database and home are used
 * @param nodeOptions options of Node for the process
 */
export async function startApiProcess(
  folder: string,
  sibling: TestApi,
  nodeOptions: readonly string[] = [],
): Promise<ApiProcess> {
  const index = pathToFileURL(join(folder, 'apps', 'api', 'dist', 'index.js')).href;
  const program = `const { startApi } = await import(${JSON.stringify(index)});
    const { close, ...where } = await startApi(${JSON.stringify(sibling.config)});
    console.log('ready ' + JSON.stringify(where));
    process.on('SIGTERM', () => void close().then(() => process.exit(0)));`;
  const child = spawn(process.execPath, [...nodeOptions, '--input-type=module', '-e', program], {
    env: { ...process.env, GRAFT_LOG_LEVEL: 'error' },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let [out, log] = ['', ''];
  child.stderr.on('data', (data: Buffer) => (log += data.toString()));
  const where = await new Promise<{ url: string; grpcUrl: string }>((resolve, reject) => {
    child.stdout.on('data', (data: Buffer) => {
      out += data.toString();
      const ready = /^ready (.*)\n/m.exec(out)?.[1];
      if (ready) resolve(JSON.parse(ready) as { url: string; grpcUrl: string });
    });
    child.once('exit', (code) => reject(new Error(`the API ended (${code}): ${out}${log}`)));
  });
  return {
    api: clientOf(where, sibling),
    errors: () => `${out}${log}`.split('\n').filter((line) => /"level":(5|6)0|Error/.test(line)),
    stop: () => ended(child),
  };
}

function clientOf(
  { url, grpcUrl }: { readonly url: string; readonly grpcUrl: string },
  { home, joinToken, apiKey, headers }: TestApi,
): ApiProcess['api'] {
  const call = async <T>(method: string, path: string, body?: unknown): Promise<T> => {
    const answer = await fetch(`${url}/v1${path}`, {
      method,
      headers: { ...headers, 'content-type': 'application/json' },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const text = await answer.text();
    if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${text}`);
    return JSON.parse(text) as T;
  };
  return {
    home,
    url,
    grpcUrl,
    joinToken,
    client: new OpenAI({ apiKey, baseURL: `${url}/v1`, maxRetries: 0 }),
    get: (path) => call('GET', path),
    post: (path, body) => call('POST', path, body),
  };
}

async function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const over = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGTERM');
  await over;
}
