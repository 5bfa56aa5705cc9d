import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import type { Readable } from 'node:stream';
import { Outage } from '../faults.js';
import { log } from '../log.js';
import { startReader, type Reading } from './reader-sandbox.js';
import { Slots } from '../limits/slots.js';

/** Characters of what a program says. */
const MOST_SAID = 1e6;

/** One project's may take half an hour, and leave the other slot to the others. */
const slots = new Slots({
  atOnce: 2,
  each: 1,
  waiting: 256,
  waitingEach: 16,
  what: 'files are being converted',
  part: 'readers',
});

/** What is over soon does not wait for conversions, of which a project's may take half an hour. */
const shortSlots = new Slots({
  atOnce: 2,
  each: 1,
  waiting: 1024,
  waitingEach: 512,
  what: 'adapters are being inspected',
  part: 'readers',
});

/** A base's look takes minutes. Bases are everybody's: their imports take turns as one project does. */
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
  /** The project whose file it is. */
  readonly owner: string;
  /** The program's file. */
  readonly script: string;
  readonly arguments: readonly string[];
  /** The file, or the folder of files. */
  readonly path: string;
  /** Aborted when nobody waits for it any more. */
  readonly gone: AbortSignal;
  readonly deadlineMs: number;
  /** Whose slots it waits for; a conversion's where left out. */
  readonly kind?: keyof typeof SLOTS;
  /** What is thrown where it ends early, with its own words or ours. */
  failure(reason: string): Error;
  /** Gets its last word on stderr where all went well: libraries may have warned before. */
  remarks?(said: string): void;
}

/**
 * What a process of its own writes about a file of a stranger, which ends it alone at worst.
 * @throws Outage where too many wait or no process can be started: that says nothing of the file
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
    const { code, said } = await ended;
    gone.throwIfAborted();
    if (late.aborted) throw order.failure(`it takes longer than ${deadlineMs / 1000} s`);
    if (code === 1) throw order.failure(said);
    if (code !== 0) throw order.failure('it needs too much memory');
    order.remarks?.(said.trimEnd().split('\n').at(-1) ?? '');
  } finally {
    child.kill('SIGKILL');
    await ended;
  }
}

/** Some errors of a start are thrown, and others are told of later, where there may be no streams either. */
async function started(reading: Reading): Promise<ChildProcess> {
  try {
    const child = startReader(reading);
    if (child.pid === undefined) throw (await once(child, 'error'))[0];
    // One that runs ends by its signal, and closes.
    child.on('error', () => undefined);
    return child;
  } catch (error) {
    if (!String((error as NodeJS.ErrnoException).syscall).startsWith('spawn')) throw error;
    log.warn({ err: error }, 'a process that reads files could not be started');
    throw new Outage('readers', 'the file cannot be read for now; try again', null, 2);
  }
}

async function endOf(child: ChildProcess): Promise<{ code: number | null; said: string }> {
  const said = lastWords(child.stderr as Readable).catch(() => '');
  const code = await new Promise<number | null>((resolve) => child.once('close', resolve));
  return { code, said: await said };
}

/** No more of it than messages and remarks have. */
async function lastWords(stream: Readable): Promise<string> {
  let said = '';
  for await (const part of stream.setEncoding('utf8') as AsyncIterable<string>)
    said = (said + part).slice(-MOST_SAID);
  return said;
}
