// Lines of a job's history that depend only on the event and the job's progress.
import { lineOf, type PayloadOf } from '@graft/contracts';
import { openAiValues } from '../history/metric-values.js';
import type { NewEvent } from '../lifecycle/event-log.js';
import type { Reported } from './reported.js';

/** Collects a step: `Measurements.write` stores all of a batch in one statement. */
export function stepEvents(
  payload: PayloadOf<'step'>,
  { job, progress, at }: Reported,
): NewEvent[] {
  progress.add(payload);
  if (progress.isRepeated(payload)) return [];
  const { totalSteps } = progress;
  return [
    {
      type: 'metrics',
      kind: 'step',
      message: lineOf({ kind: 'step', payload }, totalSteps),
      data: {
        step: payload.step,
        total_steps: totalSteps,
        ...openAiValues(job.spec.task, 'train', payload.metrics),
      },
      at,
    },
  ];
}

/** A line of the trainer's log. A warning with a code is also an event of the job, as few users read the log. */
export function logEvents(
  { message, code, level }: PayloadOf<'log'>,
  { progress, at }: Reported,
): NewEvent[] {
  if (code && !progress.warn(code, message)) return [];
  const severity = code ? 'warn' : level;
  return [
    {
      type: severity === 'info' ? 'log' : 'message',
      level: severity,
      message,
      data: { source: 'trainer', ...(code ? { code } : {}) },
      at,
    },
  ];
}

/** Logs the start of a phase. Its progress only changes the job's phase. */
export function phaseEvents(
  { code, message, progress: share }: PayloadOf<'phase'>,
  { progress, at }: Reported,
): NewEvent[] {
  const percent = share !== null && share > 0 && share < 1 ? ` (${Math.round(share * 100)} %)` : '';
  const isRepeated = progress.phase.message.replace(/ \(\d+ %\)$/, '') === message;
  if (!progress.isStopping) progress.phase = { code, message: message + percent };
  return isRepeated ? [] : [{ type: 'log', message, data: { source: 'worker', code }, at }];
}

/** Returns the end of the trainer's stderr before it failed. */
export function stderrEvents(
  { stderr_tail: stderrTail }: PayloadOf<'failed'>,
  { at }: Reported,
): NewEvent[] {
  if (!stderrTail) return [];
  return [{ type: 'log', level: 'error', message: stderrTail, data: { source: 'trainer' }, at }];
}
