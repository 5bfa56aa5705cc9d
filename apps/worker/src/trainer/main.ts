// Trainer process. Reads frames from stdin and writes frames to stdout. Native steps are synchronous; between them, the
// event loop runs once to receive messages. The process is crash-only: it exits on any unexpected error, and its runs
// resume from their checkpoints elsewhere. It exits when stdin closes, since then its parent has exited.
import { MAX_COMMAND_BYTES } from '@graft/contracts';
import { kernelsInfo, measureSpeed, setThreads, trainerBuild } from '@graft/peft-core';
import { encodeFact } from '../protocol/fact-frames.js';
import { FrameDecoder } from '../protocol/frames.js';
import { MEASURE_VARIABLE, PROTOCOL, type Command, type Fact } from '../protocol/protocol.js';
import { Trainer } from './trainer.js';
import { WorkMark } from './work-mark.js';

const threads = Number(process.env['GRAFT_THREADS'] ?? 1);
const arrived: Command[] = [];
let wake: () => void = () => undefined;

// Restrict written files to the process's own user.
process.umask(0o077);

// stdout carries frames only.
console.log = console.error;

/** Sends a fact. Returns false if it was too large, so that its run or request has failed. */
function send(fact: Fact): boolean {
  const { frame, fits } = encodeFact(fact);
  process.stdout.write(frame);
  return fits;
}

/** Handles the commands that have arrived. */
async function turn(): Promise<void> {
  await new Promise<void>((resolve) => setImmediate(resolve));
  for (let command = arrived.shift(); command; command = arrived.shift()) trainer.handle(command);
}

const trainer = new Trainer(send, WorkMark.inherited(), () => wake());

/** Exits after an error that cannot be assigned to a run. The agent reads from the work mark whose work was in progress. */
function die(error: unknown): never {
  process.stderr.write(`${error instanceof Error ? error.stack : String(error)}\n`);
  process.exit(1);
}

function listen(): void {
  const decoder = new FrameDecoder(MAX_COMMAND_BYTES);
  process.stdin.on('data', (chunk: Buffer) => {
    arrived.push(...(decoder.push(chunk) as Command[]));
    wake();
  });
  process.stdin.on('end', () => process.exit(0));
  process.stdin.on('error', () => process.exit(0));
  process.stdout.on('error', () => process.exit(0));
  process.on('uncaughtException', die);
  // The agent handles signals and sends commands; Ctrl-C reaches it as well.
  process.on('SIGINT', () => undefined);
}

async function main(): Promise<void> {
  listen();
  setThreads(threads);
  const { cudaDevices } = kernelsInfo();
  const seconds = Number(process.env[MEASURE_VARIABLE] ?? 0);
  send({
    type: 'ready',
    protocol: PROTOCOL,
    pid: process.pid,
    libtorch: kernelsInfo().libtorch,
    trainerBuild: trainerBuild(),
    threads,
    cudaDevices,
    // A measurement on a GPU would reserve memory on it in a process that may later use another one.
    speed: seconds > 0 && cudaDevices === 0 ? measureSpeed(seconds) : null,
  });
  for (;;) {
    await turn();
    if (trainer.busy) trainer.work();
    else if (arrived.length === 0) await new Promise<void>((resolve) => (wake = resolve));
  }
}

main().catch(die);
