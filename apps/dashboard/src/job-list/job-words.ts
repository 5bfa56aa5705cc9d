// What a row of the job list says: a job's result, and why it waits, failed or stalls.
import type { JobObject } from '@graft/contracts';
import { kindOf } from '@graft/contracts/job-kinds';
import { duration } from '@graft/contracts/duration';
import { ordinal } from '@graft/contracts/queue-place';
import { short } from '../format.js';
import { silence } from '../job/job-text.js';

/** A measured number with its name: "91 %" and "accuracy". */
export interface Result {
  readonly value: string;
  readonly name: string;
  readonly title: string;
}

const percent = (share: number): string => `${Math.round(100 * share)} %`;

/**
 * Returns the result of a job in the terms of its task: the score of its eval, the accuracy, the
 * lowest validation loss, or the training loss, whichever it has first. Null before the first step.
 */
export function resultOf({ graft }: JobObject): Result | null {
  const { best_score: score, best, train_loss: loss } = graft;
  if (score)
    return {
      value: short(score.eval_score),
      name: 'eval score',
      title: `Best eval score, at step ${score.step}`,
    };
  if (best?.accuracy !== undefined)
    return {
      value: percent(best.accuracy),
      name: 'accuracy',
      title: `Validation accuracy at step ${best.step}, with validation loss ${short(best.valid_loss)}`,
    };
  if (best)
    return {
      value: short(best.valid_loss),
      name: 'val loss',
      title: `Lowest validation loss, at step ${best.step}`,
    };
  if (loss === null) return null;
  return { value: short(loss), name: 'train loss', title: 'Training loss of the last step' };
}

/** Returns "3rd in line, starts in ≈ 12 min", or what a queued job waits for instead. */
export function waitText({ graft }: JobObject, now = Date.now() / 1000): string {
  const { pool, phase, queue_position: position, estimated_start: start, warnings } = graft;
  if (warnings.some(({ code }) => code === 'pool_never_joined')) return `No worker in pool ${pool}`;
  if (!/^Waiting for a worker in pool/.test(phase.message))
    return phase.message.replace(/^Waiting: (.)/, (_, first: string) => first.toUpperCase());
  if (position === null) return phase.message;
  const place = `${ordinal(position)} in line`;
  if (start === null) return place;
  return `${place}, starts ${start - now < 1 ? 'now' : `in ≈ ${duration(start - now)}`}`;
}

/** Returns the first sentence of an error, without the advice after it. */
const reason = (message: string): string => message.split(/\n|; |\. /)[0] ?? message;

export interface Line {
  readonly text: string;
  readonly tone: 'bad' | 'warn' | 'faint';
  /** The whole text, if it is longer. */
  readonly title?: string;
}

/** Returns what a row says after the job's name; null if there is nothing to explain. */
export function lineOf(job: JobObject, now = Date.now() / 1000): Line | null {
  const silent = silence(job);
  if (silent) return { text: `⚠ ${silent}`, tone: 'warn' };
  if (job.error) return { text: reason(job.error.message), tone: 'bad', title: job.error.message };
  if (job.status === 'queued') return { text: waitText(job, now), tone: 'faint' };
  const isStep = job.graft.phase.code === 'training' || job.graft.progress.step > 0;
  if (job.status === 'running' && (!isStep || kindOf(job) !== 'training'))
    return { text: job.graft.phase.message, tone: 'faint' };
  return null;
}

/** Returns "62 %" and "12 s left" of a started and unfinished job; null for others. */
export function progressOf({ status, graft }: JobObject): {
  readonly share: number;
  readonly percent: string;
  readonly left: string | null;
} | null {
  const { step, total_steps: total, eta_seconds: eta } = graft.progress;
  if (graft.operation || total === null || total === 0) return null;
  if (status !== 'running' && (status !== 'paused' || step === 0)) return null;
  const share = Math.min(1, step / total);
  const left = status === 'running' && eta !== null && eta >= 1 ? `${duration(eta)} left` : null;
  return { share, percent: `${Math.floor(100 * share)} %`, left };
}

/** Returns how long a job has trained, or an operation has taken: "2 min 5 s". */
export function tookText({ graft }: JobObject): string {
  return graft.training_seconds >= 1 ? duration(graft.training_seconds) : '–';
}
