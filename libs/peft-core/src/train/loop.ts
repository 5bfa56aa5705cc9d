// The training loop. A run passes through a table of states; one call of takeTurn gives one run a turn in its
// state. The caller handles messages, adds runs and answers chats between two turns.
import type { FactOfRun, RunFact } from './facts.js';
import { failureOf, isFatal } from './failure.js';
import type { Evaluation, Member, State } from './member.js';
import type { RunGroup } from './run-group.js';
import { mediaSpeed } from './run-metrics.js';
import type { Run } from './run.js';

export type Report = (run: Run, fact: RunFact) => void;

interface Loop {
  readonly group: RunGroup;
  readonly report: Report;
}

interface StateRow {
  /**
   * Starts the state. False if it has nothing to do now; the member then enters the next state immediately.
   */
  enter(loop: Loop, member: Member): boolean;
  /** One turn, after the forward pass if it needs one. True if it was the last turn of the state. */
  turn?(loop: Loop, member: Member): boolean;
  readonly next: State;
  /** Whether a run that is asked to pause stops in this state. Otherwise it finishes the state first. */
  readonly interruptible: boolean;
}

/** States without a turn do their work when they are entered. */
const STATES: Readonly<Record<State, StateRow>> = {
  starting: { enter: () => true, next: 'stepping', interruptible: true },
  // An interrupted step is taken again from its beginning.
  stepping: { enter: () => true, turn: finishStep, next: 'evaluating', interruptible: true },
  evaluating: { enter: beginEvaluation, turn: measure, next: 'answering', interruptible: false },
  answering: { enter: beginSamples, turn: doSideWork, next: 'ledger', interruptible: false },
  // The ledger of an epoch. It precedes the checkpoint, so a resumed run does not repeat it.
  ledger: { enter: beginEpochLedger, turn: doSideWork, next: 'saving', interruptible: false },
  saving: { enter: save, next: 'finalLedger', interruptible: false },
  // The ledger of the whole run. A run that resumes from its last checkpoint makes it again.
  finalLedger: { enter: beginFinalLedger, turn: doSideWork, next: 'done', interruptible: true },
  done: { enter: finish, next: 'stepping', interruptible: false },
};

/**
 * Takes one turn: a forward (and backward) pass of the run whose turn it is, or one piece of other work. A
 * run that fails, finishes or is stopped leaves the group and does not affect the others. If a forward pass
 * of several runs fails, each repeats its step alone, so that only the run at fault fails.
 * @throws an error that makes the device unusable for every run
 */
export function takeTurn(group: RunGroup, report: Report): void {
  const loop = { group, report };
  for (const member of group.all) beginTurn(loop, member);
  const members = group.membersOfNextTurn();
  const [first] = members;
  if (first === undefined) return;
  if (first.needsForward) {
    const forward = () => group.forward(members);
    if (members.length === 1) alone(loop, first, forward);
    else guarded(group, members, forward, () => members.forEach((member) => member.repeatAlone()));
  }
  for (const member of members)
    if (group.has(member.run) && !member.needsForward)
      alone(loop, member, () => work(loop, member));
}

/**
 * Stops a run that is asked to stop, ends one that has no steps left, and chooses the first state of a new
 * one.
 */
function beginTurn(loop: Loop, member: Member): void {
  const { run, state } = member;
  const isBeforeStep = state === 'starting' || state === 'stepping';
  if (run.stopping === 'cancel' || (run.stopping && STATES[state].interruptible))
    alone(loop, member, () => leave(loop, run, stop(loop, run)));
  // Resumed from its last checkpoint, or asked to end at this step.
  else if (run.done && isBeforeStep) alone(loop, member, () => enter(loop, member, 'evaluating'));
  else if (state === 'starting') enter(loop, member, run.step === 0 ? 'answering' : 'stepping');
}

function work(loop: Loop, member: Member): void {
  const { turn, next } = STATES[member.state];
  if (turn?.(loop, member)) enter(loop, member, next);
}

/** Enters a state, or the first one after it that has something to do. */
function enter(loop: Loop, member: Member, state: State): void {
  member.end();
  member.state = state;
  if (!STATES[state].enter(loop, member)) enter(loop, member, STATES[state].next);
}

function finishStep({ group, report }: Loop, member: Member): boolean {
  const { run } = member;
  const { media, ...update } = run.update(member.sums);
  const timed = member.report();
  const ofMedia = mediaSpeed(run.task.inputs, media / timed.seconds);
  report(run, { ...update, ...timed, metrics: { ...update.metrics, ...ofMedia } });
  const { loss, grad_norm: gradNorm } = update.metrics;
  const speed = update.tokens / timed.seconds;
  const seen = { step: update.step, loss, gradNorm, speed, company: group.size };
  for (const warning of run.watch.step(seen)) report(run, warning);
  return true;
}

function beginEvaluation(_: Loop, member: Member): boolean {
  const { data, step, endsEarly } = member.run;
  const due = endsEarly && data.validation.length > 0 ? data.atEnd : data.evaluationAt(step);
  if (due) member.evaluate(due);
  return due !== null;
}

function measure(loop: Loop, member: Member): boolean {
  const { run, evaluation } = member;
  if (evaluation === null || !member.measure()) return evaluation === null;
  reportEvaluation(loop, member, evaluation);
  if (!run.done || evaluation.full) return true;
  // A run that ends with an evaluation of a sample is then evaluated on all of the data.
  member.evaluate(run.data.whole);
  return false;
}

function reportEvaluation({ report }: Loop, { run, sums }: Member, { full }: Evaluation): void {
  const { step } = run;
  const metrics = run.measured(sums);
  const warnings = run.evaluated(metrics, full);
  // At the end only the evaluation of all data is reported: a sample has the same step.
  if (full || !run.done)
    report(run, { type: 'evaluated', step, metrics, full, ...run.confusion(sums) });
  for (const warning of warnings) report(run, warning);
}

function beginSamples(_: Loop, member: Member): boolean {
  return member.startSideWork(member.run.beginSamples());
}

function beginEpochLedger(_: Loop, member: Member): boolean {
  return !member.run.done && member.startSideWork(member.run.beginLedger());
}

function beginFinalLedger(_: Loop, member: Member): boolean {
  return member.run.done && member.startSideWork(member.run.beginLedger());
}

/** One piece of the answers or of the ledger. A failure ends that work, not the run. */
function doSideWork({ report }: Loop, { run, sideWork }: Member): boolean {
  if (sideWork === null) return true;
  try {
    const fact = sideWork.next();
    if (fact) report(run, fact);
    return fact !== null;
  } catch (error) {
    run.notDone(sideWork.what, error);
    return true;
  }
}

function save({ report }: Loop, { run }: Member): boolean {
  if (run.checkpointDue) report(run, run.save());
  return false;
}

function finish(loop: Loop, { run }: Member): boolean {
  if (run.done) leave(loop, run, run.finish());
  return run.done;
}

/** Runs work that belongs to one run. If it throws, the run leaves with a failure. */
function alone(loop: Loop, member: Member, work: () => void): void {
  guarded(loop.group, [member], work, (error) => leave(loop, member.run, failureOf(error)));
}

function guarded(
  group: RunGroup,
  members: readonly Member[],
  work: () => void,
  onFailure: (error: unknown) => void,
): void {
  try {
    group.spend(members, work);
  } catch (error) {
    if (isFatal(error)) throw error;
    onFailure(error);
  }
}

function leave({ group, report }: Loop, run: Run, last: RunFact): void {
  // The run may have left already; its work is still checked for memory use afterwards.
  if (!group.has(run)) return;
  report(run, last);
  group.remove(run);
}

/**
 * Returns the last fact of a run that is stopped. Saves a checkpoint unless the run is cancelled. An existing
 * checkpoint of this step is not replaced, because its files may be uploading.
 */
function stop({ report }: Loop, run: Run): FactOfRun<'stopped'> {
  const reason = run.stopping ?? 'cancel';
  if (reason !== 'cancel' && !run.isSaved) report(run, run.save());
  return { type: 'stopped', reason, step: run.step };
}
