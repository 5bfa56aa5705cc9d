import type { CheckpointObject, JobObject } from '@graft/contracts';
import { Pause, Play } from 'lucide-react';
import { useEffect, useState } from 'react';
import { api } from '../../api/api.js';
import { useLoaded } from '../../api/loaded.js';
import { useMayRequest } from '../../api/own-key.js';
import { RequestProblem } from '../../chat/sides.js';
import { submits } from '../../chat/submits.js';
import { LabelView } from '../../chat/text/label-view.js';
import { count } from '../../format.js';
import { Button } from '../../ui/controls/button.js';
import { Field } from '../../ui/controls/field.js';
import { EmptyState } from '../../ui/feedback/empty-state.js';
import { Skeleton } from '../../ui/feedback/skeleton.js';
import { Section } from '../../ui/page.js';
import { isOver } from '../job-text.js';
import { indexAt, promptOf, samplePromptOf, stopsOf, type Prompt, type Stop } from './stops.js';
import { useStepAnswer, type Answered, type Question } from './use-step-answer.js';

/** Time for which the replay shows an answer. */
const PLAY_MS = 1200;

interface Props {
  readonly job: JobObject;
  readonly checkpoints: readonly CheckpointObject[];
  readonly use: 'chat' | 'classify';
}

/** Asks the model at each kept checkpoint of its training: a slider over steps changes the answer in place. */
export function JobReplay({ job, checkpoints, use }: Props) {
  const stops = stopsOf(job, checkpoints, use);
  const suggested = useSuggestion(job);
  const [draft, setDraft] = useState<Partial<Prompt>>({});
  const [question, setQuestion] = useState<Question | null>(null);
  if (stops.length === 0) return <NoStops job={job} />;
  const prompt = { system: '', text: '', ...suggested, ...draft };
  const isReady = prompt.text.trim() !== '';
  const submit = () => isReady && setQuestion({ use, prompt });
  return (
    <Section title="Replay the training">
      <form
        className="replay-form"
        onSubmit={(event) => {
          event.preventDefault();
          submit();
        }}
      >
        {use === 'chat' && (
          <Field id="replay-system" label="System prompt">
            <textarea
              id="replay-system"
              rows={1}
              value={prompt.system}
              onChange={({ target }) => setDraft((now) => ({ ...now, system: target.value }))}
            />
          </Field>
        )}
        <Field
          id="replay-prompt"
          label={use === 'chat' ? 'Prompt' : 'Text'}
          help="Asked at each step that you select"
        >
          <textarea
            id="replay-prompt"
            rows={3}
            value={prompt.text}
            onChange={({ target }) => setDraft((now) => ({ ...now, text: target.value }))}
            onKeyDown={(event) => submits(event) && (event.preventDefault(), submit())}
          />
        </Field>
        <Button type="submit" disabled={!isReady}>
          Ask
        </Button>
      </form>
      <Steps stops={stops} question={question} />
    </Section>
  );
}

/** Returns a prompt of the job, or of the first usable record of its data. */
function useSuggestion(job: JobObject): Prompt | null {
  const mayRead = useMayRequest()('files:read');
  const sample = samplePromptOf(job);
  const file = job.validation_file ?? job.training_file ?? null;
  const isNeeded = sample === null && mayRead && file !== null;
  const { value } = useLoaded(['replay-prompt', isNeeded ? file : null], async () => {
    if (!isNeeded) return null;
    const { data } = await api.records(file, 0, 1);
    const [first] = data;
    return first?.record ? promptOf(first.record) : null;
  });
  return sample ?? value;
}

const NoStops = ({ job }: Pick<Props, 'job'>) => (
  <EmptyState
    title={isOver(job) ? 'No checkpoints' : 'No checkpoints yet'}
    text={
      isOver(job)
        ? 'The run saved no checkpoint that can be asked.'
        : 'When the first checkpoint is saved, you can ask it here, and compare it with later ones.'
    }
  />
);

interface StepsProps {
  readonly stops: readonly Stop[];
  /** Null before the first question. */
  readonly question: Question | null;
}

/** The slider and the answer at its step. Until the user moves it, it stays at the newest checkpoint. */
function Steps({ stops, question }: StepsProps) {
  const [step, setStep] = useState<number | null>(null);
  const [isPlaying, setPlaying] = useState(false);
  const last = stops.length - 1;
  const index = indexAt(stops, step);
  const stop = stops[index];
  const answered = useStepAnswer(stops, index, question);
  const go = (to: number) => setStep(to === last ? null : (stops[to]?.step ?? null));
  const isSettled = answered.answer !== null || answered.error !== null;
  useEffect(() => {
    if (!isPlaying || !isSettled) return;
    if (index === last || answered.error !== null) return setPlaying(false);
    const timer = setTimeout(() => go(index + 1), PLAY_MS);
    return () => clearTimeout(timer);
  }, [isPlaying, isSettled, index, last, answered.error]);
  const play = () => {
    if (!isPlaying && index === last) go(0);
    setPlaying(!isPlaying);
  };
  return (
    <>
      <div className="replay-steps">
        <Button
          disabled={question === null || last === 0}
          icon={isPlaying ? <Pause aria-hidden="true" /> : <Play aria-hidden="true" />}
          onClick={play}
        >
          {isPlaying ? 'Pause' : 'Play'}
        </Button>
        <input
          type="range"
          aria-label="Training step"
          aria-valuetext={stop?.name}
          min={0}
          max={last}
          step={1}
          value={index}
          disabled={last === 0}
          onChange={(event) => {
            setPlaying(false);
            go(Number(event.target.value));
          }}
        />
        <output className="numbers">{stop?.name}</output>
      </div>
      <div className="card replay-answer" role="status" aria-label="Answer" tabIndex={0}>
        <StepAnswerView question={question} {...answered} />
      </div>
      <p className="faint replay-note">
        {count(stops.length)} stops. Graft keeps the newest checkpoints, the best one, and the
        adapters of up to 12 others.
      </p>
    </>
  );
}

interface ViewProps extends Answered {
  readonly question: Question | null;
}

function StepAnswerView({ question, answer, error, again }: ViewProps) {
  if (question === null) return <p className="faint">Ask to see the answer at each step.</p>;
  if (error) return <RequestProblem error={error} again={again} />;
  if (answer === null) return <Skeleton height={20} rows={3} />;
  if (answer.kind === 'labels') return <LabelView answer={answer.labels} />;
  return (
    <p className="pre break">
      {answer.text === '' ? '–' : answer.text}
      {answer.isCut && <span className="faint">…</span>}
    </p>
  );
}
