// Files on their way to the server. They are kept outside of all pages, so that an upload goes on while people look at
// other ones.
import type { FileObject } from '@graft/contracts';
import { useSyncExternalStore } from 'react';
import { ApiError, NoAnswer } from '../api/request.js';
import { isLost, probe, whenBack } from '../api/contact.js';
import { PartUpload, type Columns, type PartProgress } from './part-upload.js';
import { apiKey, onSession } from '../api/session.js';

/** Endings of what can be read as training data. */
export const ACCEPTED = '.jsonl,.json,.csv,.tsv,.parquet,.arrow,.zip,.tar,.tgz,.gz';

/** `asks`: a table, which waits for somebody to say which column is what. */
type State = 'waiting' | 'sending' | 'interrupted' | 'checking' | 'asks' | 'failed' | 'done';

export interface Upload {
  readonly id: number;
  readonly name: string;
  readonly size: number;
  /** Address of the page that it was begun on. */
  readonly place: string;
  readonly state: State;
  readonly sent: number;
  /** Bytes per second, and the seconds that are left at that rate; null until they can be told. */
  readonly rate: number | null;
  readonly secondsLeft: number | null;
  /** Of a table that asks. */
  readonly columns: readonly string[];
  /** Which of them may be meant as what. */
  readonly suggested: Columns | null;
  /** Why it failed. */
  readonly error: Error | null;
  /** What it became. */
  readonly file: FileObject | null;
  /** Whether the form that it was begun in has chosen the file. */
  readonly isTaken: boolean;
}

/** What an upload is sent with. */
interface Sending {
  readonly part: PartUpload;
  readonly stop: AbortController;
  columns: Columns | null;
  /** When it was last begun or continued, which its rate is measured from. */
  since: { readonly at: number; readonly sent: number } | null;
}

/** A bar that moves more often is not read better. */
const SHOWN_EVERY_MS = 200;
/** A rate of less than this is a guess. */
const RATE_AFTER_SECONDS = 1;

let uploads: readonly Upload[] = [];
/** Of those that have not arrived. */
const sendings = new Map<number, Sending>();
/** Of the session that they belong to. */
let key: string | null = null;
const listeners = new Set<() => void>();
let lastId = 0;
let isWorking = false;
let isListening = false;

/** Whether leaving the dashboard would end it. */
export const isUnfinished = ({ state }: Upload): boolean => state !== 'done' && state !== 'failed';

export const currentUploads = (): readonly Upload[] => uploads;

/** The address of the page that is shown, to tell its uploads from those of other pages. */
export const placeNow = (): string => location.pathname + location.search;

export function useUploads(): readonly Upload[] {
  return useSyncExternalStore(subscribe, currentUploads);
}

function subscribe(notify: () => void): () => void {
  listeners.add(notify);
  return () => listeners.delete(notify);
}

function set(next: readonly Upload[]): void {
  uploads = next;
  // A browser that has such a listener keeps no page for going back to it.
  if (uploads.some(isUnfinished)) addEventListener('beforeunload', warn);
  else removeEventListener('beforeunload', warn);
  for (const notify of listeners) notify();
}

const change = (id: number, part: Partial<Upload>): void =>
  set(uploads.map((upload) => (upload.id === id ? { ...upload, ...part } : upload)));

const warn = (event: BeforeUnloadEvent): void => event.preventDefault();

/** Uploads files one after the other. Those that have arrived and were seen make room in the list. */
export function upload(files: readonly File[]): void {
  listen();
  key = apiKey();
  const begun = files.map((file) => begin(file, key ?? ''));
  set([...uploads.filter((one) => one.state !== 'done' || isAwaited(one)), ...begun]);
  void work();
}

/** A form has yet to choose what has arrived. */
const isAwaited = ({ place, isTaken, file }: Upload): boolean =>
  place.startsWith('/new') && !isTaken && file?.status !== 'error';

function begin(file: File, by: string): Upload {
  const id = ++lastId;
  sendings.set(id, {
    part: new PartUpload(file, by, progressOf(id)),
    stop: new AbortController(),
    columns: null,
    since: null,
  });
  return {
    id,
    name: file.name,
    size: file.size,
    place: placeNow(),
    state: 'waiting',
    sent: 0,
    rate: null,
    secondsLeft: null,
    columns: [],
    suggested: null,
    error: null,
    file: null,
    isTaken: false,
  };
}

/** Shows how far an upload is. */
function progressOf(id: number): PartProgress {
  let shown = 0;
  const sending = (sent: number): void => {
    const upload = uploads.find((one) => one.id === id);
    const of = sendings.get(id);
    const now = performance.now();
    if (!upload || !of || (of.since !== null && now - shown < SHOWN_EVERY_MS)) return;
    shown = now;
    of.since ??= { at: now, sent };
    const seconds = (now - of.since.at) / 1000;
    const rate = seconds < RATE_AFTER_SECONDS ? null : (sent - of.since.sent) / seconds;
    const secondsLeft = rate ? (upload.size - sent) / rate : null;
    change(id, { state: 'sending', sent, rate, secondsLeft });
  };
  const checking = (): void => {
    const sent = uploads.find((one) => one.id === id)?.size ?? 0;
    change(id, { state: 'checking', sent, rate: null, secondsLeft: null });
  };
  return { sending, checking };
}

async function work(): Promise<void> {
  if (isWorking) return;
  isWorking = true;
  const next = () => uploads.find(({ state }) => state === 'waiting');
  for (let one = next(); one; one = next()) await send(one.id);
  isWorking = false;
}

async function send(id: number): Promise<void> {
  const sending = sendings.get(id);
  if (!sending) return;
  const { part, stop } = sending;
  change(id, { state: 'sending', error: null });
  try {
    const file = await throughOutages(id, sending, () => part.send(sending.columns, stop.signal));
    sendings.delete(id);
    change(id, { state: 'done', file });
  } catch (failure) {
    if (stop.signal.aborted) return;
    const table = failure instanceof ApiError ? failure.table : null;
    if (table) change(id, { state: 'asks', ...table });
    else change(id, { state: 'failed', error: failure as Error });
  }
}

/** What a server that restarts, or a proxy before it, answers for a while. */
const PASSING = [502, 503, 504];
const PAUSES_MS = [1_000, 2_000, 4_000, 8_000, 16_000];

/** Goes on by itself when a server that went away is back. A part that arrives ends an outage. */
async function throughOutages<T>(
  id: number,
  sending: Sending,
  attempt: () => Promise<T>,
): Promise<T> {
  let pauses = [...PAUSES_MS];
  for (;;) {
    sending.since = null;
    const { arrived } = sending.part;
    try {
      return await attempt();
    } catch (failure) {
      if (sending.part.arrived > arrived) pauses = [...PAUSES_MS];
      const pauseMs =
        failure instanceof ApiError && PASSING.includes(failure.status)
          ? pauses.shift()
          : undefined;
      if (pauseMs !== undefined) {
        change(id, { state: 'interrupted', rate: null, secondsLeft: null });
        await Promise.race([
          new Promise((resolve) => setTimeout(resolve, pauseMs)),
          aborted(sending.stop.signal),
        ]);
        continue;
      }
      if (!(failure instanceof NoAnswer)) throw failure;
      await probe();
      if (!isLost()) throw failure;
      change(id, { state: 'interrupted', rate: null, secondsLeft: null });
      await Promise.race([whenBack(), aborted(sending.stop.signal)]);
    }
  }
}

const aborted = (signal: AbortSignal): Promise<void> =>
  new Promise((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));

/** Tries again what failed; what the server has already is not sent again. */
export function continueUpload(id: number): void {
  const { error } = uploads.find((one) => one.id === id) ?? {};
  const isGone = error instanceof ApiError && (error.status === 404 || error.status === 409);
  if (isGone) sendings.get(id)?.part.forget();
  change(id, { state: 'waiting', error: null });
  void work();
}

/** Says which column of a table is what. */
export function pickColumns(id: number, columns: Columns): void {
  const sending = sendings.get(id);
  if (sending) sending.columns = columns;
  change(id, { state: 'waiting', columns: [] });
  void work();
}

/** A form has chosen the file. */
export const takeUpload = (id: number): void => change(id, { isTaken: true });

/** Ends an upload, or leaves one that is over out of the list. The file of one that is done stays. */
export function dropUpload(id: number): void {
  const sending = sendings.get(id);
  sendings.delete(id);
  set(uploads.filter((one) => one.id !== id));
  if (!sending) return;
  sending.stop.abort();
  // What could not be taken back ends by itself after a day.
  sending.part.cancel().catch(() => undefined);
}

/** Uploads belong to the session that began them: with it they end, and another key sees none of them. */
function listen(): void {
  if (isListening) return;
  isListening = true;
  onSession(() => {
    if (apiKey() !== key) for (const { id } of uploads) dropUpload(id);
  });
  addEventListener('pagehide', ({ persisted }) => {
    if (persisted) return;
    for (const { part } of sendings.values()) part.cancel(true).catch(() => undefined);
  });
}
