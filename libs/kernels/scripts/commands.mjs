// Runs other programs for the set-up.
import { spawn, spawnSync } from 'node:child_process';
import { createInterface } from 'node:readline';

/** Runs a program; { ok, out, err }. Never throws. */
export function run(
  program,
  args,
  { timeout = 60_000, show = false, env = process.env, cwd } = {},
) {
  // our stdout is for results, so other programs' output goes to stderr
  const stdio = ['ignore', show ? 2 : 'pipe', show ? 2 : 'pipe'];
  const done = spawnSync(program, args, {
    encoding: 'utf8',
    timeout,
    stdio,
    env,
    cwd,
    maxBuffer: 1 << 28,
  });
  return {
    ok: done.status === 0,
    out: done.stdout ?? '',
    err: done.stderr ?? String(done.error ?? ''),
  };
}

/** Whether a program is on PATH. */
export function has(program) {
  return run('sh', ['-c', 'command -v "$0"', program]).ok;
}

/** Returns the command prefix for root without a prompt: [] as root, ['sudo','-n'] if that works, otherwise null. */
export function rootPrefix() {
  if (process.getuid?.() === 0) return [];
  return has('sudo') && run('sudo', ['-n', 'true'], { timeout: 5000 }).ok ? ['sudo', '-n'] : null;
}

/**
 * Installs distribution packages with apt-get and logs the reason first.
 * @throws Error with the command to run, if it cannot be done here
 */
export function aptInstall(packages, why, log) {
  const prefix = rootPrefix();
  const command = `apt-get install -y ${packages.join(' ')}`;
  if (!has('apt-get') || prefix === null) {
    const manual = has('apt-get')
      ? `run: sudo ${command}`
      : `install ${packages.join(', ')} with your package manager`;
    throw new Error(`${why}, and this process cannot install packages; ${manual}`);
  }
  log(`${why}: ${[...prefix, command].join(' ')}`);
  const apt = (args) =>
    run(
      [...prefix, 'env'][0],
      [...prefix, 'env'].slice(1).concat('DEBIAN_FRONTEND=noninteractive', 'apt-get', ...args),
      {
        timeout: 1_800_000,
        show: true,
      },
    );
  if (apt(['install', '-y', '--no-install-recommends', ...packages]).ok) return;
  log('installation failed; retrying after apt-get update');
  apt(['update']);
  if (!apt(['install', '-y', '--no-install-recommends', ...packages]).ok) {
    throw new Error(`${why}, but \`${command}\` failed (see above)`);
  }
}

/** Runs a program and passes its output on line by line; { ok, out } with both streams in `out`. Never throws. */
export function follow(program, args, onLine) {
  return new Promise((resolve) => {
    const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'] });
    let out = '';
    for (const stream of [child.stdout, child.stderr]) {
      createInterface({ input: stream }).on('line', (line) => {
        out += `${line}\n`;
        onLine(line);
      });
    }
    child.once('error', (error) => resolve({ ok: false, out: String(error) }));
    child.once('close', (code) => resolve({ ok: code === 0, out }));
  });
}
