// The training loop. One call is one optimiser step of every run in the pack; who calls it takes messages,
// lets runs join and answers chats in between.
import type { FactOfRun, RunFact } from './facts.js';
import { failureOf } from './failure.js';
import type { LossSum } from './loss.js';
import { addTo, type Pack } from './pack.js';
import type { Run } from './run.js';

export type Report = (run: Run, fact: RunFact) => void;

/**
 * Forward, backward, clip, step, evaluate, save, report. A run that fails, finishes or is told to stop
 * leaves the pack; the others do not notice. An error of the shared forward is thrown: it is nobody's.
 * @param breathe awaited where a step lasts long, so that messages are heard
 */
export async function trainStep(
  pack: Pack,
  report: Report,
  breathe: () => Promise<void>,
): Promise<void> {
  for (const run of pack.runs) {
    if (run.stopping) contain(pack, run, report, () => leave(pack, run, report));
  }
  const started = performance.now();
  const training = pack.runs.filter((run) => !run.done);
  const losses = await pack.forwardBackward(training, breathe);
  const updates = new Map<Run, Omit<FactOfRun<'step'>, 'seconds'>>();
  for (const run of training)
    contain(pack, run, report, () => updates.set(run, run.update(losses.get(run) as LossSum)));
  const seconds = (performance.now() - started) / 1000;
  for (const run of pack.runs) {
    try {
      const update = updates.get(run);
      if (update) {
        report(run, { ...update, seconds });
        for (const warning of run.watch.step(update)) report(run, warning);
      }
      const due = run.evaluationDue();
      if (due) {
        const evaluation = await evaluated(pack, run, due, breathe);
        report(run, evaluation);
        for (const warning of run.watch.evaluated(evaluation)) report(run, warning);
      }
      if (run.checkpointDue) report(run, run.checkpoint());
      if (!run.done) continue;
      report(run, run.finish());
      pack.remove(run);
    } catch (error) {
      report(run, failureOf(error));
      pack.remove(run);
    }
  }
}

async function evaluated(
  pack: Pack,
  run: Run,
  { examples, full }: { examples: Run['examples']; full: boolean },
  breathe: () => Promise<void>,
): Promise<FactOfRun<'evaluated'>> {
  const total: LossSum = { loss: 0, correct: 0, count: 0 };
  for (const sum of pack.evaluate(run, examples)) {
    addTo(total, sum);
    await breathe();
  }
  const count = Math.max(1, total.count);
  return {
    type: 'evaluated',
    step: run.step,
    loss: total.loss / count,
    accuracy: total.correct / count,
    tokens: total.count,
    full,
  };
}

/**
 * Takes out a run that was told to stop; a paused or drained one leaves a checkpoint. One of this very step stays as
 * it is: its files may be on their way up.
 */
function leave(pack: Pack, run: Run, report: Report): void {
  const reason = run.stopping ?? 'cancel';
  if (reason !== 'cancel' && !run.isSaved) report(run, run.checkpoint());
  report(run, { type: 'stopped', reason, step: run.step });
  pack.remove(run);
}

function contain(pack: Pack, run: Run, report: Report, act: () => unknown): void {
  try {
    act();
  } catch (error) {
    report(run, failureOf(error));
    pack.remove(run);
  }
}
