import type {
  CheckpointObject,
  EventKind,
  JobEventObject,
  JobObject,
  Measured,
  MetricsObject,
} from '@graft/contracts';
import { lossText } from '@graft/contracts/loss-text';
import { TERMINAL_STATUSES } from '@graft/contracts/job-status';
import type { ServerEvent } from '@graft/contracts/sse';
import { skipToken, useQuery, useQueryClient } from '@tanstack/react-query';
import { useCallback, useEffect, useMemo, useState } from 'react';
import { api } from '../api/api.js';
import { NoAnswer } from '../api/request.js';
import { onBack } from '../api/contact.js';
import { follow } from '../api/sse.js';
import { isVisible } from '../browser/visibility.js';

/** All data of the job page. */
export interface JobData {
  readonly job: JobObject;
  readonly metrics: MetricsObject;
  /** Newest first: steps, messages and the trainer's own lines. */
  readonly log: readonly JobEventObject[];
  readonly checkpoints: readonly CheckpointObject[];
}

/** Returns the number in an event's id, which orders the history of a job. */
export const eventNumber = (id: string): number => Number(/-(\d+)$/.exec(id)?.[1] ?? 0);

/** Adds a live measurement. A step that a later attempt repeats is replaced. */
export function withPoint(metrics: MetricsObject, point: Measured): MetricsObject {
  const cut = metrics.steps.findLastIndex((step) => step < point.step) + 1;
  const names = new Set([...Object.keys(metrics.series), ...Object.keys(point)]);
  names.delete('step');
  const blank = metrics.steps.map(() => null);
  const series = Object.fromEntries(
    [...names].map((name) => [
      name,
      [...(metrics.series[name] ?? blank).slice(0, cut), point[name] ?? null],
    ]),
  );
  return { ...metrics, steps: [...metrics.steps.slice(0, cut), point.step], series };
}

/** Inserts an event in order. Does nothing if the event is already there. */
export function withLine(
  log: readonly JobEventObject[],
  line: JobEventObject,
): readonly JobEventObject[] {
  const number = eventNumber(line.id);
  const at = log.findIndex((old) => eventNumber(old.id) <= number);
  if (at === -1) return [...log, line];
  return log[at]?.id === line.id ? log : [...log.slice(0, at), line, ...log.slice(at)];
}

/** Creates the log line of a step as the history has it, because the stream sends steps as numbers only. */
function stepLine(job: JobObject, point: Measured, number: string): JobEventObject {
  return {
    object: 'fine_tuning.job.event',
    id: `ftevent-${job.id.replace(/^ftjob-/, '')}-${number}`,
    created_at: Math.floor(Date.now() / 1000),
    level: 'info',
    type: 'metrics',
    message: `Step ${point.step}/${job.graft.progress.total_steps ?? '?'}: training loss=${lossText(point.loss ?? NaN)}`,
    data: null,
    graft: { kind: 'step' },
  };
}

/**
 * Loads the history and the number of its last event. Events are requested first, so later
 * responses are at least as recent, and the stream continues from that number. A finished job has
 * no stream and may have ended during loading, so its events are requested again.
 */
async function load(id: string): Promise<{ data: JobData; upTo: number }> {
  const first = await api.events(id);
  const [job, logs, metrics, checkpoints] = await Promise.all([
    api.job(id),
    api.logs(id),
    api.metrics(id),
    api.checkpoints(id),
  ]);
  const events = TERMINAL_STATUSES.includes(job.status) ? await api.events(id) : first;
  const log = [...events.data, ...logs.data].sort((a, b) => eventNumber(b.id) - eventNumber(a.id));
  return {
    data: { job, metrics, log, checkpoints: checkpoints.data },
    upTo: events.data[0] ? eventNumber(events.data[0].id) : 0,
  };
}

function withEvent(now: JobData, { id, kind, data }: ServerEvent): JobData {
  const value: unknown = JSON.parse(data);
  if (kind === 'job') return { ...now, job: value as JobObject };
  if (kind === 'event') return { ...now, log: withLine(now.log, value as JobEventObject) };
  if (kind !== 'metrics') return now;
  const point = value as Measured;
  return {
    ...now,
    metrics: withPoint(now.metrics, point),
    log: id === null ? now.log : withLine(now.log, stepLine(now.job, point, id)),
  };
}

const ended = (event: ServerEvent): boolean =>
  event.kind === 'job' && TERMINAL_STATUSES.includes((JSON.parse(event.data) as JobObject).status);

/** Events that change saved checkpoints, validation losses or marks. */
const RECORDED: ReadonlySet<EventKind | null> = new Set(['evaluation', 'checkpoint', 'attempt']);

const changesRecords = ({ kind, data }: ServerEvent): boolean =>
  kind === 'event' && RECORDED.has((JSON.parse(data) as JobEventObject).graft.kind);

export interface LiveJob {
  readonly data: JobData | null;
  readonly error: Error | null;
  readonly connected: boolean;
  readonly setJob: (job: JobObject) => void;
}

/** Polling interval of a hidden tab, for its title. It has no stream. */
const HIDDEN_POLL_MS = 15_000;
/** Polling interval while the job runs or is queued, because silence and the queue position cause no events. */
const PULSE_MS = 3000;

/** Fields of `graft` that change without an event. */
const PULSE = [
  'phase',
  'training_seconds',
  'worker_silent_seconds',
  'process',
  'shares_with',
  'alone',
  'waited_seconds',
  'queue_position',
  'queue_length',
  'estimated_start',
  'estimated_start_range',
] as const;

/** Updates the fields of a job that change without an event from a newer response. */
export const withPulse = (job: JobObject, { status, graft }: JobObject): JobObject => {
  if (job.status !== status) return job; // The stream reports other states in order.
  const newer = Object.fromEntries(PULSE.map((name) => [name, graft[name]]));
  return { ...job, graft: { ...job.graft, ...newer } };
};

/**
 * Cached data of the job's page, so that it is shown immediately when opened again. It is assembled
 * from several responses and events, so it is neither loaded nor compared as a whole.
 */
function useCachedJob(id: string) {
  const queries = useQueryClient();
  const queryKey = useMemo(() => ['job-page', id], [id]);
  const { data = null } = useQuery<JobData>({
    queryKey,
    queryFn: skipToken,
    structuralSharing: false,
  });
  const keep = useCallback(
    (whole: JobData) => void queries.setQueryData<JobData>(queryKey, whole),
    [queries, queryKey],
  );
  const setData = useCallback(
    (update: (now: JobData) => JobData) =>
      void queries.setQueryData<JobData>(queryKey, (now) => now && update(now)),
    [queries, queryKey],
  );
  return { data, keep, setData };
}

/** Follows a job until it ends. Then everything is loaded again and the stream is closed. */
export function useJob(id: string): LiveJob {
  const { data, keep, setData } = useCachedJob(id);
  const [error, setError] = useState<Error | null>(null);
  const [connected, setConnected] = useState(true);

  useEffect(() => {
    let stop = new AbortController();
    let isUnmounted = false;
    /** Whether everything has loaded. Otherwise loading starts over when the server is back. */
    let loadedOnce = false;
    const failed = (failure: Error) =>
      isUnmounted || failure instanceof NoAnswer || setError(failure);
    const refresh = async () => {
      const [metrics, checkpoints] = await Promise.all([api.metrics(id), api.checkpoints(id)]);
      const { evaluations, marks, peak_rss_bytes } = metrics;
      setData((now) => ({
        ...now,
        metrics: { ...now.metrics, evaluations, marks, peak_rss_bytes },
        checkpoints: checkpoints.data,
      }));
    };
    const event = (arrived: ServerEvent) => {
      if (arrived.kind === 'reset' || ended(arrived)) {
        void start();
        return;
      }
      setData((now) => withEvent(now, arrived));
      if (changesRecords(arrived)) refresh().catch(failed);
    };
    const start = async () => {
      stop.abort();
      stop = new AbortController();
      const { signal } = stop;
      loadedOnce = false;
      try {
        const { data: loaded, upTo } = await load(id);
        if (signal.aborted) return;
        loadedOnce = true;
        keep(loaded);
        setError(null);
        if (TERMINAL_STATUSES.includes(loaded.job.status)) return setConnected(true);
        const path = `/fine_tuning/jobs/${encodeURIComponent(id)}/stream`;
        await follow(path, { event, connected: setConnected, after: upTo }, signal);
      } catch (failure) {
        failed(failure as Error);
      }
    };
    void start();
    // The stream reconnects and catches up by itself, but the records must be loaded again.
    const unlisten = onBack(() => void (loadedOnce ? refresh().catch(failed) : start()));
    return () => {
      isUnmounted = true;
      unlisten();
      stop.abort();
    };
  }, [id, keep, setData]);

  const setJob = useCallback((job: JobObject) => setData((now) => ({ ...now, job })), [setData]);
  const over = data !== null && TERMINAL_STATUSES.includes(data.job.status);
  useEffect(() => {
    if (over) return;
    const ask = () => void (isVisible() || api.job(id).then(setJob, () => undefined));
    const timer = setInterval(ask, HIDDEN_POLL_MS);
    return () => clearInterval(timer);
  }, [id, over, setJob]);
  const pulses = data?.job.status === 'running' || data?.job.status === 'queued';
  useEffect(() => {
    if (!pulses) return;
    const received = (answer: JobObject) =>
      setData((now) => ({ ...now, job: withPulse(now.job, answer) }));
    const ask = () => void (isVisible() && api.job(id).then(received, () => undefined));
    const timer = setInterval(ask, PULSE_MS);
    return () => clearInterval(timer);
  }, [id, pulses, setData]);
  return { data, error, connected, setJob };
}
