// Uploads in progress. They are stored outside of all pages, so that they continue while the user
// opens other pages.
import type { FileObject } from '@graft/contracts';
import { useSyncExternalStore } from 'react';
import { ApiError, NoAnswer } from '../api/request.js';
import { isLost, probe, whenBack } from '../api/contact.js';
import { PartUpload, type Columns, type PartProgress } from './part-upload.js';
import { apiKey, onSession } from '../api/session.js';

/** Filename extensions of supported training data. */
export const ACCEPTED = '.jsonl,.json,.csv,.tsv,.parquet,.arrow,.zip,.tar,.tgz,.gz';

/** `asks`: a table that waits for its columns to be assigned. */
type State = 'waiting' | 'sending' | 'interrupted' | 'checking' | 'asks' | 'failed' | 'done';

export interface Upload {
  readonly id: number;
  readonly name: string;
  readonly size: number;
  /** Address of the page where it started. */
  readonly place: string;
  readonly state: State;
  readonly sent: number;
  /** Bytes per second, and the seconds left at that rate. Null until they can be estimated. */
  readonly rate: number | null;
  readonly secondsLeft: number | null;
  /** Columns of a table in state `asks`. */
  readonly columns: readonly string[];
  /** Suggested assignment of its columns. */
  readonly suggested: Columns | null;
  /** Reason of the failure. */
  readonly error: Error | null;
  /** The uploaded file. */
  readonly file: FileObject | null;
  /** Whether the form where it started has selected the file. */
  readonly isSelected: boolean;
}

/** State of sending one upload. */
interface Sending {
  readonly part: PartUpload;
  readonly stop: AbortController;
  columns: Columns | null;
  /** Start of the rate measurement: when the upload last started or continued. */
  since: { readonly at: number; readonly sent: number } | null;
}

/** Minimum interval between updates of the progress bar. */
const SHOWN_EVERY_MS = 200;
/** Seconds before a rate is shown, because earlier estimates are too inaccurate. */
const RATE_AFTER_SECONDS = 1;

let uploads: readonly Upload[] = [];
/** Sending states of unfinished uploads. */
const sendings = new Map<number, Sending>();
/** API key of the session that owns the uploads. */
let key: string | null = null;
const listeners = new Set<() => void>();
let lastId = 0;
let isWorking = false;
let isListening = false;

/** Whether leaving the dashboard would cancel it. */
export const isUnfinished = ({ state }: Upload): boolean => state !== 'done' && state !== 'failed';

export const currentUploads = (): readonly Upload[] => uploads;

/** Returns the address of the current page, to distinguish its uploads from those of other pages. */
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
  // Added only when needed: browsers exclude pages with such a listener from the back/forward
  // cache.
  if (uploads.some(isUnfinished)) addEventListener('beforeunload', warn);
  else removeEventListener('beforeunload', warn);
  for (const notify of listeners) notify();
}

const change = (id: number, part: Partial<Upload>): void =>
  set(uploads.map((upload) => (upload.id === id ? { ...upload, ...part } : upload)));

const warn = (event: BeforeUnloadEvent): void => event.preventDefault();

/** Uploads files one after the other. Completed uploads that were seen are removed from the list. */
export function upload(files: readonly File[]): void {
  listen();
  key = apiKey();
  const created = files.map((file) => createUpload(file, key ?? ''));
  set([...uploads.filter((one) => one.state !== 'done' || isUnselected(one)), ...created]);
  void work();
}

/** Whether a form has yet to select the uploaded file. */
const isUnselected = ({ place, isSelected, file }: Upload): boolean =>
  /^\/(new|find)\b/.test(place) && !isSelected && file?.status !== 'error';

function createUpload(file: File, by: string): Upload {
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
    isSelected: false,
  };
}

/** Returns the progress callbacks of an upload. */
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

/** Temporary status codes of a restarting server, or of a proxy in front of it. */
const PASSING = [502, 503, 504];
const PAUSES_MS = [1_000, 2_000, 4_000, 8_000, 16_000];

/** Retries when the server is back. A part that arrives ends an outage. */
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

/** Retries a failed upload. Parts that the server already has are not sent again. */
export function continueUpload(id: number): void {
  const { error } = uploads.find((one) => one.id === id) ?? {};
  const isDeleted = error instanceof ApiError && (error.status === 404 || error.status === 409);
  if (isDeleted) sendings.get(id)?.part.forget();
  change(id, { state: 'waiting', error: null });
  void work();
}

/** Assigns the columns of a table. */
export function pickColumns(id: number, columns: Columns): void {
  const sending = sendings.get(id);
  if (sending) sending.columns = columns;
  change(id, { state: 'waiting', columns: [] });
  void work();
}

/** Marks a file as selected by a form. */
export const markUploadSelected = (id: number): void => change(id, { isSelected: true });

/** Cancels an upload, or removes a finished one from the list. The file of a finished upload is kept. */
export function dropUpload(id: number): void {
  const sending = sendings.get(id);
  sendings.delete(id);
  set(uploads.filter((one) => one.id !== id));
  if (!sending) return;
  sending.stop.abort();
  // If it cannot be deleted, it expires after a day.
  sending.part.cancel().catch(() => undefined);
}

/** Cancels all uploads when the session ends, because they belong to its key. */
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
