import type { JobSampleObject, SweepObject, TrialObject } from '@graft/contracts';
import { rankedTrials, trialLabel } from '@graft/contracts/sweep-text';
import { api } from '../api/api.js';
import { useLoaded } from '../api/loaded.js';
import { Section } from '../ui/page.js';
import { isOpen, trialColor } from './race.js';

const POLL_MS = 5000;
/** Number of trials whose answers are shown, best first. */
const SHOWN = 6;

interface Answered {
  readonly trial: TrialObject;
  readonly latest: JobSampleObject;
}

type Prompt = JobSampleObject['data'][number]['prompt'];

/** Returns a prompt as text: the last message of a chat. */
const promptText = (prompt: Prompt): string =>
  typeof prompt === 'string' ? prompt : (prompt.at(-1)?.content ?? '');

/** Latest answers of the best trials to the first sample prompt. Nothing if the sweep has none. */
export function LatestAnswers({ sweep }: { sweep: SweepObject }) {
  const best = rankedTrials(sweep.trials ?? [], sweep.search.metric)
    .filter(({ step }) => step > 0)
    .slice(0, SHOWN);
  const answers = useLoaded<readonly Answered[]>(
    ['race-answers', sweep.id, best.map(({ job }) => job).join()],
    async () => {
      const found = await Promise.all(
        best.map(async (trial) => {
          const [latest] = (await api.latestSamples(trial.job)).data;
          return latest ? { trial, latest } : null;
        }),
      );
      return found.filter((one) => one !== null);
    },
    isOpen(sweep) ? POLL_MS : 0,
    true,
  );
  const [first] = answers.value ?? [];
  const prompt = first?.latest.data[0]?.prompt;
  if (prompt === undefined) return null;
  return (
    <Section title="Latest answers" text={`To “${promptText(prompt)}”`}>
      <ul className="race-answers">
        {answers.value?.map(({ trial, latest }) => (
          <li key={trial.job}>
            <span className="trial-name">
              <span
                className="swatch"
                style={{ background: `var(${trialColor(trial.number)})` }}
                aria-hidden="true"
              />
              <b>
                {trial.number} · {trialLabel(trial)}
              </b>
              <span className="faint">step {latest.step_number}</span>
            </span>
            <p className="pre">{latest.data[0]?.text || '(empty reply)'}</p>
          </li>
        ))}
      </ul>
    </Section>
  );
}
