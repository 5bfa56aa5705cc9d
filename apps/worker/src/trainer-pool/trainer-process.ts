// Parent's side of a trainer process: starts it, sends commands, receives facts and classifies its exit.
import { spawn, type ChildProcessByStdio } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import type { Readable, Writable } from 'node:stream';
import { DomainError, grouped, MAX_COMMAND_BYTES, type RunEventName } from '@graft/contracts';
import { classifyExit, oomKills, type TrainerExit } from './exit-class.js';
import { readFact } from '../protocol/fact-schema.js';
import { encodeFrame, FrameDecoder, FrameTooLarge } from '../protocol/frames.js';
import {
  keyOf,
  PROTOCOL,
  type Command,
  type Fact,
  type FactOf,
  type ReadEvent,
  type ReadFact,
  type ReadyFact,
} from '../protocol/protocol.js';
import { IDLE, MARK_VARIABLE, WorkMarkFile } from '../trainer/work-mark.js';
import { TRAINER_MAIN } from '../scripts.js';
import type { Sandbox } from './sandbox.js';

export interface TrainerOptions {
  /** Threads of the native kernels. Results are bit-identical only with the same number. */
  readonly threads: number;
  /** Sandbox of the process; absent in tests of the trainer itself. */
  readonly sandbox?: Sandbox;
  /** Variables to add to the otherwise empty environment, e.g. PEFT_JOB to identify orphans of a killed agent. */
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
  /** Called with the trainer's output on stderr. */
  readonly onStderr?: (text: string) => void;
  /** Time without a fact after which the process counts as hung. Default: from 60 s, growing with its step time. */
  readonly hangMs?: number;
  /** Script to run instead of this build's trainer. */
  readonly main?: string;
}

type Listener = (fact: ReadFact) => void;

const STDERR_TAIL = 8192;
const PING_MS = 5_000;
const HANG_MS = 60_000;
/** Hang timeout during preparation: loading and tokenizing take long, and the step time is unknown before the first step. */
const LOAD_MS = 15 * 60_000;
/** Facts that complete the start of a process or the loading of a base. */
const SETTLED = { ready: 'process', loaded: 'base', loadFailed: 'base' };
/** Events that complete the preparation of their run. */
const PREPARED: ReadonlySet<RunEventName> = new Set(['step', 'finished', 'failed', 'stopped']);
/** Environment variables that trainers inherit; never secrets. */
const PASSED_ON = [
  'PATH',
  'HOME',
  'TMPDIR',
  'LANG',
  'LD_LIBRARY_PATH',
  'LD_PRELOAD',
  'CUDA_VISIBLE_DEVICES',
  'GRAFT_ISA',
];

/** Trainer process. It exits when its stdin closes, so it outlives the agent by at most one step. */
export class TrainerProcess {
  readonly pid: number;
  /** Unique name of this process. */
  readonly name = randomUUID();
  /** Resolves at the first frame; rejects if the process exits before it. */
  readonly ready: Promise<ReadyFact>;
  /** Content of the first frame; null until then. */
  capabilities: ReadyFact | null = null;
  /** Resolves when the process has exited and all its facts were delivered. Never rejects. */
  readonly exited: Promise<TrainerExit>;
  private readonly child: ChildProcessByStdio<Writable, Readable, Readable>;
  private readonly exitListeners = new Set<(exit: TrainerExit) => void>();
  private readonly listeners = new Map<Fact['type'] | '*', Set<Listener>>();
  private readonly oomKillsBefore = oomKills();
  private readonly stepMs: number[] = [];
  private readonly watchdog: NodeJS.Timeout;
  /** Record of the work in progress; null if it cannot be created, e.g. on a full disk. */
  private readonly mark = openMark();
  private stderrTail = '';
  private exitRequested = false;
  private hung = false;
  private interrupted = false;
  /** Whether it sent invalid data; nothing more is read from it. */
  private isInvalid = false;
  /** Preparations in progress: of the process, the base, and each run up to its first step. */
  private readonly preparing = new Set([SETTLED.ready]);
  private lastFactAt = performance.now();
  private pings = 0;

  constructor(private readonly options: TrainerOptions) {
    const node = [process.execPath, '--max-old-space-size=4096', options.main ?? TRAINER_MAIN];
    const [program = '', ...args] = [...(options.sandbox?.prefix ?? []), ...node];
    this.child = spawn(program, args, {
      // A separate process group: one signal reaches all its children, and Ctrl-C does not reach it.
      detached: true,
      // The fourth is MARK_FD.
      stdio: ['pipe', 'pipe', 'pipe', this.mark?.fd ?? 'ignore'],
      cwd: options.cwd,
      env: { ...environment(options), ...(this.mark === null ? {} : { [MARK_VARIABLE]: '1' }) },
    }) as ChildProcessByStdio<Writable, Readable, Readable>;
    this.pid = this.child.pid ?? -1;
    this.ready = new Promise((resolve, reject) => {
      this.on('ready', (fact) =>
        fact.protocol === PROTOCOL
          ? resolve(fact)
          : reject(new Error(`the trainer uses protocol ${fact.protocol}, expected ${PROTOCOL}`)),
      );
      this.child.once('close', () =>
        reject(new Error(`the trainer exited before it was ready: ${this.stderrTail.slice(-500)}`)),
      );
      this.child.once('error', reject);
    });
    this.ready.then(
      (fact) => (this.capabilities = fact),
      () => undefined,
    );
    this.exited = new Promise((resolve) => {
      this.child.once('close', (code, signal) => resolve(this.ended(code, signal)));
      this.child.once('error', (error) => resolve(this.ended(null, null, error.message)));
    });
    void this.exited.then((exit) => this.exitListeners.forEach((listener) => listener(exit)));
    this.listen();
    this.watchdog = setInterval(
      () => this.watch(),
      Math.min(PING_MS, (options.hangMs ?? Infinity) / 2),
    );
    this.watchdog.unref();
  }

  /** Subscribes to one kind of fact. Returns a function that unsubscribes. */
  on<K extends Fact['type']>(type: K, listener: (fact: FactOf<K>) => void): () => void {
    return this.add(type, listener as Listener);
  }

  /** Subscribes to every fact, in order. */
  onFact(listener: Listener): () => void {
    return this.add('*', listener);
  }

  /** Subscribes to the exit. Returns a function that unsubscribes, so that, unlike with `exited`, listeners can be freed. */
  onExit(listener: (exit: TrainerExit) => void): () => void {
    this.exitListeners.add(listener);
    return () => void this.exitListeners.delete(listener);
  }

  /** @throws Error if the process has exited, DomainError user_error if the command is too large */
  send(command: Command): void {
    if (!this.child.stdin.writable) throw new Error('the trainer has exited');
    const frame = encodeCommand(command);
    if (command.type === 'load' || command.type === 'start') {
      this.preparing.add(command.type === 'load' ? SETTLED.loaded : keyOf(command));
      this.lastFactAt = performance.now();
    }
    this.child.stdin.write(frame);
  }

  /** Closes stdin, so that the process exits after the current step without saving anything. */
  end(): void {
    this.exitRequested = true;
    this.child.stdin.end();
  }

  /** Time without a fact after which the process counts as hung. It responds only between steps, which may be long. */
  get patienceMs(): number {
    if (this.options.hangMs !== undefined) return this.options.hangMs;
    const median = [...this.stepMs].sort((a, b) => a - b)[this.stepMs.length >> 1] ?? 0;
    return Math.max(this.preparing.size > 0 ? LOAD_MS : HANG_MS, 20 * median);
  }

  /** Sends a signal to the process group. */
  kill(signal: NodeJS.Signals = 'SIGKILL'): void {
    this.exitRequested = true;
    this.signal(signal);
  }

  /** Kills the process group with SIGKILL, as a drill: its runs resume, and none is to blame. */
  interrupt(): void {
    this.interrupted = true;
    this.signal('SIGKILL');
  }

  private signal(signal: NodeJS.Signals): void {
    try {
      process.kill(-this.pid, signal);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
    }
  }

  private add(type: Fact['type'] | '*', listener: Listener): () => void {
    const set = this.listeners.get(type) ?? new Set();
    this.listeners.set(type, set.add(listener));
    return () => void set.delete(listener);
  }

  private listen(): void {
    const decoder = new FrameDecoder();
    this.child.stdout.on('data', (chunk: Buffer) => this.receive(decoder, chunk));
    this.child.stderr.setEncoding('utf8').on('data', (text: string) => {
      this.stderrTail = (this.stderrTail + text).slice(-STDERR_TAIL);
      this.options.onStderr?.(text);
    });
    // Writes fail after an exit, which `exited` reports.
    this.child.stdin.on('error', () => undefined);
  }

  /** Reads facts. Invalid data and errors of listeners end this trainer; the agent and its other trainers continue. */
  private receive(decoder: FrameDecoder, chunk: Buffer): void {
    if (this.isInvalid) return;
    try {
      for (const message of decoder.push(chunk)) this.dispatch(readFact(message));
    } catch (error) {
      // A library may have written to stdout, or the process is compromised. Nothing after this can be trusted.
      this.isInvalid = true;
      this.stderrTail += `\nstdout contains data other than frames of facts: ${(error as Error).message}\n`;
      this.signal('SIGKILL');
    }
  }

  private dispatch(fact: ReadFact): void {
    this.lastFactAt = performance.now();
    if (fact.type in SETTLED) this.preparing.delete(SETTLED[fact.type as keyof typeof SETTLED]);
    if (fact.type === 'event') this.noteEvent(fact);
    for (const listener of [
      ...(this.listeners.get(fact.type) ?? []),
      ...(this.listeners.get('*') ?? []),
    ])
      listener(fact);
  }

  private noteEvent(event: ReadEvent): void {
    if (event.kind === 'step') {
      this.stepMs.push(event.payload.seconds * 1000);
      if (this.stepMs.length > 101) this.stepMs.shift();
    }
    if (PREPARED.has(event.kind)) this.preparing.delete(keyOf(event));
  }

  private watch(): void {
    if (this.child.exitCode !== null || !this.child.stdin.writable) return;
    const silence = performance.now() - this.lastFactAt;
    if (silence > this.patienceMs) {
      this.hung = true;
      // SIGQUIT makes Node.js print its stacks if core dumps are enabled; the group is killed a second later.
      this.signal('SIGQUIT');
      setTimeout(() => this.signal('SIGKILL'), 1000).unref();
      return;
    }
    this.child.stdin.write(encodeFrame({ type: 'ping', sequence: ++this.pings }));
  }

  private ended(code: number | null, signal: NodeJS.Signals | null, error?: string): TrainerExit {
    clearInterval(this.watchdog);
    const work = this.mark?.take() ?? IDLE;
    return classifyExit({
      // The invalid data may be older than the current work.
      work: this.isInvalid ? IDLE : work,
      code,
      signal,
      stderrTail: error ?? this.stderrTail,
      exitRequested: this.exitRequested,
      hung: this.hung,
      interrupted: this.interrupted,
      oomKilled: oomKills() > this.oomKillsBefore,
    });
  }
}

function openMark(): WorkMarkFile | null {
  try {
    return WorkMarkFile.open();
  } catch {
    return null; // Without the record, no run is to blame, and all are suspects.
  }
}

/** Returns the subject of the message for a command that is too large. */
function contentOf(command: Command): string {
  if (command.type === 'start') return "the job's settings are";
  return command.type === 'ask' ? 'the request is' : 'the command is';
}

function encodeCommand(command: Command): Buffer {
  try {
    return encodeFrame(command, MAX_COMMAND_BYTES);
  } catch (error) {
    if (!(error instanceof FrameTooLarge)) throw error;
    const most = `the maximum is ${grouped(MAX_COMMAND_BYTES)}`;
    const message = `${contentOf(command)} ${grouped(error.bytes)} bytes long; ${most}`;
    throw new DomainError('user_error', message);
  }
}

function environment(options: TrainerOptions): NodeJS.ProcessEnv {
  const threads = String(options.threads);
  const env: NodeJS.ProcessEnv = {
    GRAFT_THREADS: threads,
    OMP_NUM_THREADS: threads,
    OPENBLAS_NUM_THREADS: threads,
    // The driver's order, which the agent uses.
    CUDA_DEVICE_ORDER: 'PCI_BUS_ID',
  };
  for (const name of PASSED_ON) if (process.env[name] !== undefined) env[name] = process.env[name];
  if (options.sandbox?.user) delete env['HOME']; // it is the agent's, and not accessible to another user
  return { ...env, ...options.env };
}
