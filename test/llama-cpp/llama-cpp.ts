// llama.cpp's program for these specs: npm's node-llama-cpp and its build for this platform, 85 MB, too large for a
// dependency. It is downloaded to .cache. Specs that need it are skipped with a message if the download fails.
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { existsSync, mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface, type Interface } from 'node:readline';

const ROOT = join(import.meta.dirname, '../..');
const VERSION = '3.22.1';
const FOLDER = process.env['GRAFT_LLAMA_CPP'] ?? join(ROOT, `.cache/llama-cpp-${VERSION}`);

/** Whether the program is present or can be downloaded. */
export function ready(tests: string): boolean {
  const why = existsSync(FOLDER) ? null : fetched();
  if (why !== null) console.warn(`skipped: ${tests}, because llama.cpp cannot be fetched: ${why}`);
  return why === null;
}

function fetched(): string | null {
  const scratch = `${FOLDER}.tmp-${process.pid}`;
  mkdirSync(scratch, { recursive: true });
  try {
    writeFileSync(join(scratch, 'package.json'), '{ "private": true }');
    const build = `@node-llama-cpp/${process.platform === 'darwin' ? 'mac' : process.platform}-${process.arch}`;
    const packages = [`node-llama-cpp@${VERSION}`, `${build}@${VERSION}`];
    const flags = ['--omit=optional', '--ignore-scripts', '--no-audit', '--no-fund'];
    const { status, stderr, error } = spawnSync('npm', ['install', ...flags, ...packages], {
      cwd: scratch,
      encoding: 'utf8',
      timeout: 150_000,
    });
    if (status !== 0) return (error?.message ?? stderr).trim().split('\n').slice(-2).join(' ');
    renameSync(scratch, FOLDER);
    return null;
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

export interface CompletionRequest {
  readonly tokens?: readonly number[];
  /** Text in which special tokens are parsed. */
  readonly text?: string;
  /** Maximum number of tokens. */
  readonly count: number;
  readonly probabilities?: boolean;
}

export interface Answered {
  readonly prompt: readonly number[];
  readonly said: readonly number[];
  /** Generated text without the end token. */
  readonly text: string;
  /** [token, probability] pairs for each position. */
  readonly tables: readonly (readonly (readonly [number, number])[])[];
}

/** A process that answers one request after the other. */
export class LlamaCpp {
  private readonly process: ChildProcess;
  private readonly lines: AsyncIterator<string>;
  private readonly reader: Interface;
  private errors = '';

  constructor() {
    this.process = spawn(process.execPath, [join(import.meta.dirname, 'ask.mjs'), FOLDER]);
    const { stdout, stderr } = this.process;
    if (!stdout || !stderr) throw new Error('no pipes');
    this.reader = createInterface({ input: stdout });
    this.lines = this.reader[Symbol.asyncIterator]();
    stderr.on('data', (chunk: Buffer) => (this.errors += String(chunk)));
  }

  async ask(
    file: string,
    cases: readonly CompletionRequest[],
    lora?: string,
  ): Promise<readonly Answered[]> {
    this.process.stdin?.write(`${JSON.stringify({ file, lora, cases })}\n`);
    const { value, done } = await this.lines.next();
    if (done) throw new Error(`llama.cpp ended: ${this.errors}`);
    const { answers, error } = JSON.parse(value) as { answers?: Answered[]; error?: string };
    if (answers) return answers;
    throw new Error(`${error ?? ''} ${this.errors}`);
  }

  stop(): void {
    this.process.stdin?.end();
    this.process.kill();
    this.reader.close();
  }
}
