// The training loop. One call is one turn: a forward (and backward) of the run whose turn it is, and what comes with
// it. Who calls it takes messages, lets runs join and answers chats in between.
import { DomainError } from '@graft/contracts';
import { usedMemory } from '@graft/kernels';
import type { Sums } from '../tasks/task.js';
import type { FactOfRun, RunFact } from './facts.js';
import { failureOf, isFatal } from './failure.js';
import type { Evaluation, Member } from './member.js';
import type { RunGroup } from './run-group.js';
import { mediaSpeed } from './run-metrics.js';
import type { Run, SeenByStep } from './run.js';
import type { SideWork } from './side-work/side-work.js';

export type Report = (run: Run, fact: RunFact) => void;

/**
 * One turn: forward, backward, and after the last micro-batch of a step clip, step, evaluate, save, report. A run that
 * fails, finishes or is told to stop leaves the group; the others do not notice. Where a forward that several share
 * fails, each of them takes its step again by itself, and the one whose work it was fails alone.
 * @throws what has broken the device for everybody
 */
export function takeTurn(group: RunGroup, report: Report): void {
  const leave = (run: Run, last: RunFact): void => {
    // One that has left may still be found to have taken too much.
    if (!group.has(run)) return;
    report(run, last);
    group.remove(run);
  };
  const working = (members: readonly Member[], work: () => void, failed: (e: unknown) => void) => {
    try {
      group.spend(members, work);
    } catch (error) {
      if (isFatal(error)) throw error;
      failed(error);
    }
  };
  const alone = (member: Member, work: () => void): void =>
    working([member], work, (error) => leave(member.run, failureOf(error)));
  for (const member of group.all) {
    const { run, isBetweenSteps, beside } = member;
    // An evaluation that has begun belongs to the step that is done, as answers do; a step that has begun is taken again.
    if (run.stopping && (run.stopping === 'cancel' || !isBetweenSteps))
      alone(member, () => leave(run, stop(run, report)));
    // Resumed from its last checkpoint, or told to end where it is: a step that has begun is not taken then.
    else if (run.done && !isBetweenSteps && !beside) alone(member, () => evaluateOrGoOn(member));
    else if (run.step === 0 && !isBetweenSteps) beginAnswers(member);
  }
  const members = group.next();
  const [first] = members;
  if (first === undefined) return;
  const { beside } = first;
  if (beside) return alone(first, () => isDone(first.run, beside, report) && goOn(first));
  if (first.evaluation && first.isThrough) return alone(first, () => complete(first));
  const forward = () => group.forward(members);
  if (members.length === 1) alone(first, forward);
  else working(members, forward, () => members.forEach((member) => member.repeatAlone()));
  for (const member of members)
    if (member.isThrough && group.has(member.run)) alone(member, () => complete(member));

  function complete(member: Member): void {
    const { run, evaluation } = member;
    if (evaluation === null) {
      run.backwardPenalty();
      step(member);
      evaluateOrGoOn(member);
    } else if (member.measure()) {
      evaluated(member, evaluation);
      // it has ended, and by a sample
      if (run.done && !evaluation.full) member.evaluate(run.data.whole);
      else answerOrGoOn(member);
    }
  }

  function evaluateOrGoOn(member: Member): void {
    const { data, step, isToldToEnd } = member.run;
    const due = isToldToEnd && data.validation.length > 0 ? data.atEnd : data.evaluationAt(step);
    if (due) member.evaluate(due);
    else answerOrGoOn(member);
  }

  function answerOrGoOn(member: Member): void {
    if (!beginAnswers(member)) goOn(member);
  }

  function goOn(member: Member): void {
    const { run } = member;
    member.end();
    // Before its checkpoint: a run that goes on from that need not ask whether this was done.
    if (!run.done && beginLedger(member)) return;
    if (run.checkpointDue) report(run, run.save());
    if (run.done && !beginLedger(member)) leave(run, run.finish());
  }

  function step(member: Member): void {
    const { run } = member;
    const update = timedStep(run, clipAndStep(run, member.sums), member.report());
    report(run, update);
    const { loss, grad_norm: gradNorm } = update.metrics;
    const speed = update.tokens / update.seconds;
    const seen = { step: update.step, loss, gradNorm, speed, company: group.size };
    for (const warning of run.watch.step(seen)) report(run, warning);
  }

  function evaluated({ run, sums }: Member, { full }: Evaluation): void {
    const { step } = run;
    const metrics = run.measured(sums);
    const warnings = run.evaluated(metrics, full);
    // A sample that a run ends by is not told: the whole of its data, at the same step, is.
    if (full || !run.done)
      report(run, { type: 'evaluated', step, metrics, full, ...run.confusion(sums) });
    for (const warning of warnings) report(run, warning);
  }
}

/** Whether its sample prompts are to be answered now: each turn is then a piece of that. */
function beginAnswers(member: Member): boolean {
  const samples = member.run.beginSamples();
  if (samples) member.turnTo(samples);
  return samples !== null;
}

/** The same for its ledger; that of its end is the last thing that a run does. */
function beginLedger(member: Member): boolean {
  const ledger = member.run.beginLedger();
  if (ledger) member.turnTo(ledger);
  return ledger !== null;
}

/** One piece of it. Whether that was the last, or there is none. */
function isDone(run: Run, work: SideWork, report: Report): boolean {
  try {
    const fact = work.next();
    if (fact) report(run, fact);
    return fact !== null;
  } catch (error) {
    run.notDone(work.what, error);
    return true;
  }
}

/**
 * What a run that was told to stop ends with; a paused or drained one leaves a checkpoint. One of this very step stays
 * as it is: its files may be on their way up.
 */
function stop(run: Run, report: Report): FactOfRun<'stopped'> {
  const reason = run.stopping ?? 'cancel';
  if (reason !== 'cancel' && !run.isSaved) report(run, run.save());
  return { type: 'stopped', reason, step: run.step };
}

type Times = Pick<FactOfRun<'step'>, 'seconds' | 'waitedSeconds'>;
type Update = Omit<FactOfRun<'step'>, keyof Times> & Pick<SeenByStep, 'media'>;

function timedStep(run: Run, { media, ...update }: Update, timed: Times): FactOfRun<'step'> {
  const speed = mediaSpeed(run.task.inputs, media / timed.seconds);
  return { ...update, ...timed, metrics: { ...update.metrics, ...speed } };
}

/** @throws DomainError nonfinite, leaving the parameters as they were */
function clipAndStep(run: Run, sums: Sums): Update {
  const measured = run.measured(sums);
  const { loss } = measured;
  const gradNorm = run.optimizer.clip(run.spec.max_grad_norm);
  if (!Number.isFinite(loss) || !Number.isFinite(gradNorm)) {
    const what = Number.isFinite(loss) ? `gradient norm ${gradNorm}` : `loss ${loss}`;
    throw new DomainError(
      'nonfinite',
      `step ${run.step + 1}: ${what}; lower the learning rate or use base_dtype f32`,
      'graft.learning_rate',
    );
  }
  const { learningRate } = run;
  run.optimizer.step(learningRate, () => run.afterUpdate());
  const { tokens, media } = run.advance();
  return {
    type: 'step',
    step: run.step,
    tokens,
    media,
    rssBytes: usedMemory().bytes,
    metrics: { ...measured, learning_rate: learningRate, grad_norm: gradNorm },
  };
}
