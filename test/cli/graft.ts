import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
export const CLI = `${ROOT}apps/cli/bundle/main.js`;
export const WORKER = `${ROOT}apps/worker/bundle/main.js`;
export const API = `${ROOT}apps/api/bundle/main.js`;

export interface Done {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

/** Environment without variables that would make a test use the user's own Graft. */
export function cleanEnv(extra: Readonly<Record<string, string>> = {}): NodeJS.ProcessEnv {
  const kept = Object.entries(process.env).filter(
    ([name]) => !/^(GRAFT_|VITEST|FORCE_COLOR|NO_COLOR)/.test(name),
  );
  return { ...Object.fromEntries(kept), GRAFT_LOG_LEVEL: 'warn', ...extra };
}

/** Runs `graft` with arguments until it exits. */
export async function graft(
  home: string,
  args: readonly string[],
  input = '',
  extra: Readonly<Record<string, string>> = {},
): Promise<Done> {
  const env = cleanEnv({ GRAFT_HOME: home, ...extra });
  const child = spawn(process.execPath, [CLI, ...args], { env });
  child.stdin.end(input);
  const text = collect(child);
  const [code] = (await once(child, 'close')) as [number | null];
  return { code, ...text() };
}

const TERMINAL_LIMIT_MS = 90_000;

export interface Terminal {
  readonly columns?: number;
  readonly cwd?: string;
  readonly extra?: Readonly<Record<string, string>>;
  /** Keys to press, each after its text has appeared since the last key. */
  readonly keys?: readonly (readonly [after: string | RegExp, key: string])[];
}

/** Runs `graft` on a terminal (util-linux's script) until it exits, and returns everything that it shows. */
export async function onTerminal(
  home: string,
  args: readonly string[],
  { columns = 80, cwd, extra = {}, keys = [] }: Terminal = {},
): Promise<{ code: number | null; shown: string }> {
  const quoted = [process.execPath, CLI, ...args].map((word) => `'${word}'`).join(' ');
  const command = `stty cols ${columns} rows 50; exec ${quoted}`;
  const env = cleanEnv({ GRAFT_HOME: home, TERM: 'xterm', NO_COLOR: '1', ...extra });
  const child = spawn('script', ['--quiet', '--return', '--command', command, '/dev/null'], {
    env,
    cwd,
  });
  const text = collect(child);
  const closed = once(child, 'close') as Promise<[number | null]>;
  // A question that the test does not expect would wait for its answer forever.
  const limit = setTimeout(() => child.kill('SIGKILL'), TERMINAL_LIMIT_MS);
  let seen = 0;
  const typed = (async () => {
    for (const [after, key] of keys) {
      for (;;) {
        const found = text().out.slice(seen).match(after);
        if (found || child.exitCode !== null || child.signalCode !== null) break;
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
      seen = text().out.length;
      child.stdin.write(key);
    }
  })();
  const [code] = await closed;
  clearTimeout(limit);
  await typed;
  return { code, shown: text().out.replaceAll('\r\n', '\n') };
}

/** Starts a program and waits until its output contains `sign`. */
export async function startUntil(
  script: string,
  args: readonly string[],
  env: NodeJS.ProcessEnv,
  sign: string,
): Promise<{ child: ChildProcess; text: () => Omit<Done, 'code'> }> {
  const child = spawn(process.execPath, [script, ...args], {
    env,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const text = collect(child);
  for (;;) {
    const { out, err } = text();
    if ((out + err).includes(sign)) return { child, text };
    if (child.exitCode !== null)
      throw new Error(`exited with ${child.exitCode} before printing "${sign}": ${out}${err}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

function collect(child: ChildProcess): () => Omit<Done, 'code'> {
  let out = '';
  let err = '';
  child.stdout?.on('data', (chunk: Buffer) => (out += chunk.toString()));
  child.stderr?.on('data', (chunk: Buffer) => (err += chunk.toString()));
  return () => ({ out, err });
}
