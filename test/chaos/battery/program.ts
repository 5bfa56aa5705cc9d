// Process that is restarted whenever it exits, like a service under a service manager, until `stop` is
// called.
import { spawn, type ChildProcess } from 'node:child_process';
import { appendFileSync } from 'node:fs';

const AGAIN_MS = 300;

export class Program {
  /** Number of unexpected exits. */
  unexpected = 0;
  private child: ChildProcess | null = null;
  private exited: Promise<void> = Promise.resolve();
  private wanted = false;
  private killing = false;
  private output = '';

  constructor(
    readonly name: string,
    private readonly args: () => readonly string[],
    private readonly env: Record<string, string>,
    private readonly log: string,
  ) {}

  get pid(): number | null {
    return this.child?.pid ?? null;
  }

  /** Output since the last start. */
  get text(): string {
    return this.output;
  }

  start(): void {
    this.wanted = true;
    if (this.child) return;
    this.output = '';
    const child = spawn(process.execPath, this.args(), {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, ...this.env },
    });
    this.child = child;
    for (const stream of [child.stdout, child.stderr])
      stream.on('data', (bytes: Buffer) => {
        this.output = (this.output + bytes.toString()).slice(-20_000);
        appendFileSync(this.log, bytes);
      });
    this.exited = new Promise((resolve) =>
      child.once('exit', (code, signal) => {
        this.child = null;
        if (this.wanted && !this.killing) {
          this.unexpected++;
          appendFileSync(this.log, `\n--- ended with ${code ?? signal}, started again\n`);
          setTimeout(() => this.wanted && this.start(), AGAIN_MS);
        }
        resolve();
      }),
    );
  }

  signal(signal: NodeJS.Signals): void {
    this.child?.kill(signal);
  }

  /** Sends the signal to the program and starts it again `downMs` milliseconds after its exit. */
  async restart(signal: 'SIGKILL' | 'SIGTERM', downMs: number): Promise<void> {
    this.killing = true;
    await this.end(signal);
    await new Promise((resolve) => setTimeout(resolve, downMs));
    this.killing = false;
    this.start();
  }

  async stop(): Promise<void> {
    this.wanted = false;
    await this.end('SIGTERM');
  }

  private async end(signal: NodeJS.Signals): Promise<void> {
    this.signal('SIGCONT');
    this.signal(signal);
    const killer = setTimeout(() => this.signal('SIGKILL'), 30_000);
    await this.exited;
    clearTimeout(killer);
  }
}
