import { spawn, type ChildProcess } from 'node:child_process';
import { closeSync, fstatSync, mkdirSync, openSync, readFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { problemsIn } from './log-problems.js';

/** Child process that writes to a log file. */
export class ServerProcess {
  readonly pid: number;
  /** Resolves when the process has exited, with a description such as "exited with code 1". */
  readonly ended: Promise<string>;
  private over = false;
  /** Offset in the log file where the output of this process begins. */
  private readonly from: number;

  /** Starts the program in its own process group, so that Ctrl-C reaches only this process, which stops its children in order. */
  constructor(
    readonly title: string,
    readonly script: string,
    args: readonly string[],
    env: NodeJS.ProcessEnv,
    readonly log: string,
  ) {
    mkdirSync(dirname(log), { recursive: true });
    const file = openSync(log, 'a', 0o600);
    this.from = fstatSync(file).size;
    const child: ChildProcess = spawn(process.execPath, ['--enable-source-maps', script, ...args], {
      stdio: ['ignore', file, file],
      env,
      detached: true,
    });
    closeSync(file);
    this.pid = child.pid ?? 0;
    this.ended = new Promise((resolve) => {
      child.once('error', (error) => resolve(`failed to start: ${error.message}`));
      child.once('exit', (code, signal) =>
        resolve(signal === null ? `exited with code ${code}` : `was killed by ${signal}`),
      );
    });
    void this.ended.then(() => (this.over = true));
  }

  get running(): boolean {
    return !this.over;
  }

  /** Sends SIGTERM, and SIGKILL after `graceMs` milliseconds. */
  async stop(graceMs: number): Promise<void> {
    if (this.over) return;
    process.kill(this.pid, 'SIGTERM');
    const late = await Promise.race([
      this.ended.then(() => false),
      sleep(graceMs, true, { ref: false }),
    ]);
    if (late && this.running) process.kill(this.pid, 'SIGKILL');
    await this.ended;
  }

  /** Output of this process in the log so far. */
  written(): string {
    return readFileSync(this.log).subarray(this.from).toString('utf8');
  }

  /** Last warnings and errors of the log, indented. */
  reason(): string {
    const lines = problemsIn(this.written(), 12);
    return (lines.length === 0 ? ['(no warnings or errors in the log)'] : lines)
      .map((line) => `  ${line}`)
      .join('\n');
  }
}
