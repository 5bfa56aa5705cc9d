import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import type { Readable } from 'node:stream';
import { Outage } from '../faults.js';
import { log } from '../log.js';
import { startReader, type ReaderOptions } from './reader-sandbox.js';
import { Slots } from '../limits/slots.js';

/** Maximum number of characters of a program's stderr; the last ones are kept. */
const MOST_SAID = 1e6;

/** Slots of conversions, which may take half an hour. A project uses at most one of the two. */
const slots = new Slots({
  atOnce: 2,
  each: 1,
  waiting: 256,
  waitingEach: 16,
  what: 'files are being converted',
  part: 'readers',
});

/** Slots of short reads, which do not wait for conversions of up to half an hour. */
const shortSlots = new Slots({
  atOnce: 2,
  each: 1,
  waiting: 1024,
  waitingEach: 512,
  what: 'adapters are being inspected',
  part: 'readers',
});

/** Slots of base inspections, which take minutes. Bases have no project, so all imports count as one. */
const importSlots = new Slots({
  atOnce: 1,
  each: 1,
  waiting: 512,
  waitingEach: 512,
  what: 'base models are being inspected',
  part: 'readers',
});

const SLOTS = { conversion: slots, adapter: shortSlots, import: importSlots };

export interface Confined {
  /** ID of the project that the file belongs to. */
  readonly owner: string;
  /** Path of the program. */
  readonly script: string;
  readonly arguments: readonly string[];
  /** The file, or a folder of files. */
  readonly path: string;
  /** Aborted when the caller no longer waits. */
  readonly gone: AbortSignal;
  readonly deadlineMs: number;
  /** Kind of slot to wait for; the default is a conversion. */
  readonly kind?: keyof typeof SLOTS;
  /** Creates the error of a failed or stopped program. The reason is the program's or this module's. */
  failure(reason: string): Error;
  /** Receives the last line of stderr if the program succeeds. Earlier lines may be warnings of libraries. */
  remarks?(stderr: string): void;
}

/**
 * Yields the output of a program that reads an untrusted file in a separate process. At worst, the file ends
 * that process.
 * @throws Outage if too many wait or no process can be started; neither is an error of the file
 */
export async function* confined(order: Confined): AsyncGenerator<Buffer> {
  const done = await SLOTS[order.kind ?? 'conversion'].take(order.owner, order.gone);
  try {
    yield* output(order);
  } finally {
    done();
  }
}

async function* output(order: Confined): AsyncGenerator<Buffer> {
  const { gone, deadlineMs, script } = order;
  const late = AbortSignal.timeout(deadlineMs);
  const child = await started({
    script,
    arguments: [...order.arguments, order.path],
    readable: [order.path],
    speaks: 'output',
    signal: AbortSignal.any([gone, late]),
  });
  const ended = endOf(child);
  try {
    yield* child.stdout as Readable as AsyncIterable<Buffer>;
    const { code, said: stderr } = await ended;
    gone.throwIfAborted();
    if (late.aborted) throw order.failure(`it takes longer than ${deadlineMs / 1000} s`);
    if (code === 1) throw order.failure(stderr);
    if (code !== 0) throw order.failure('it needs too much memory');
    order.remarks?.(stderr.trimEnd().split('\n').at(-1) ?? '');
  } finally {
    child.kill('SIGKILL');
    await ended;
  }
}

/** Some errors of a start are thrown. Others are emitted later, when the streams may be missing too. */
async function started(reading: ReaderOptions): Promise<ChildProcess> {
  try {
    const child = startReader(reading);
    if (child.pid === undefined) throw (await once(child, 'error'))[0];
    // After a successful start, an abort emits an error; the process then ends by its signal and closes.
    child.on('error', () => undefined);
    return child;
  } catch (error) {
    if (!String((error as NodeJS.ErrnoException).syscall).startsWith('spawn')) throw error;
    log.warn({ err: error }, 'a process that reads files could not be started');
    throw new Outage('readers', 'the file cannot be read for now; try again', null, 2);
  }
}

async function endOf(child: ChildProcess): Promise<{ code: number | null; said: string }> {
  const stderr = endOfStream(child.stderr as Readable).catch(() => '');
  const code = await new Promise<number | null>((resolve) => child.once('close', resolve));
  return { code, said: await stderr };
}

/** Reads the end of a stream, up to the maximum length of messages and remarks. */
async function endOfStream(stream: Readable): Promise<string> {
  let stderr = '';
  for await (const part of stream.setEncoding('utf8') as AsyncIterable<string>)
    stderr = (stderr + part).slice(-MOST_SAID);
  return stderr;
}
