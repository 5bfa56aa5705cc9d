// The trainer process. Frames in on stdin, frames out on stdout; native steps are synchronous, and between
// two of them the event loop turns once to take messages. It is crash-only: any doubt ends it, and its
// runs go on from their checkpoints elsewhere. When stdin closes, its parent is gone and so is it.
import { MAX_COMMAND_BYTES } from '@graft/contracts';
import { kernelsInfo, setThreads, trainerBuild } from '@graft/peft-core';
import { encodeFact } from '../protocol/fact-frames.js';
import { FrameDecoder } from '../protocol/frames.js';
import { PROTOCOL, type Command, type Fact } from '../protocol/protocol.js';
import { Trainer } from './trainer.js';
import { WorkMark } from './work-mark.js';

const threads = Number(process.env['GRAFT_THREADS'] ?? 1);
const arrived: Command[] = [];
let wake: () => void = () => undefined;

// What a run writes is for its user only.
process.umask(0o077);

// stdout carries frames only.
console.log = console.error;

/** False if it was too large: then its run or answer has failed instead. */
function send(fact: Fact): boolean {
  const { frame, fits } = encodeFact(fact);
  process.stdout.write(frame);
  return fits;
}

/** Takes the commands that have arrived. */
async function turn(): Promise<void> {
  await new Promise<void>((resolve) => setImmediate(resolve));
  for (let command = arrived.shift(); command; command = arrived.shift()) trainer.handle(command);
}

const trainer = new Trainer(send, WorkMark.inherited(), () => wake());

/** What went wrong is not one run's: the agent asks the mark whose work was on. */
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
  // The agent decides what a signal means and says so in a command; Ctrl-C goes to it as well.
  process.on('SIGINT', () => undefined);
}

async function main(): Promise<void> {
  listen();
  setThreads(threads);
  send({
    type: 'ready',
    protocol: PROTOCOL,
    pid: process.pid,
    libtorch: kernelsInfo().libtorch,
    trainerBuild: trainerBuild(),
    threads,
    cudaDevices: kernelsInfo().cudaDevices,
  });
  for (;;) {
    await turn();
    if (trainer.busy) trainer.work();
    else if (arrived.length === 0) await new Promise<void>((resolve) => (wake = resolve));
  }
}

main().catch(die);
