import type { DataReport, JobPreviewObject } from '@graft/contracts';
import { amount, memoryText, roughly, vocabularyText } from '@graft/contracts/plan-line';
import { placeText } from '@graft/contracts/queue-place';
import { Code } from 'lucide-react';
import { useState } from 'react';
import type { Problem } from '../forms/field-problem.js';
import { bytes, count, short } from '../format.js';
import { LimitsNear } from '../projects/limits-near.js';
import { CodeBlock } from '../ui/code-block.js';
import { Button } from '../ui/controls/button.js';
import { Fold } from '../ui/fold.js';
import { Drawer } from '../ui/overlays/drawer.js';
import { jobCode } from './job-code.js';
import type { Preview } from './use-preview.js';

interface RailProps {
  readonly preview: Preview;
  readonly problems: readonly Problem[];
  readonly body: Readonly<Record<string, unknown>>;
  readonly busy: boolean;
  /** Whether the API can be asked: file and base model are chosen. */
  readonly isComplete: boolean;
  readonly focus: (problem: Problem) => void;
  readonly tryMethods: () => void;
}

/** Estimate of the job, its problems, and the buttons that start it. Always visible. */
export function JobRail(props: RailProps) {
  const { preview, problems, body, busy, isComplete, focus, tryMethods } = props;
  const [isCode, setCode] = useState(false);
  const { plan, asking } = preview;
  return (
    <aside className="job-rail" aria-label="Summary">
      <section aria-label="What this job will do" aria-busy={asking} className="rail-plan">
        <p role="status" className="plan-line">
          {plan ? estimateOf(plan) : asking ? 'Analyzing the data…' : EMPTY}
        </p>
        <div className="rail-scroll">
          {plan && <Warnings warnings={plan.warnings} />}
          <Problems problems={problems} focus={focus} />
          <LimitsNear />
          {plan && (
            <Fold title="Details" reason={null} className="rail-details">
              <Details plan={plan} />
            </Fold>
          )}
        </div>
      </section>
      <div className="rail-buttons">
        <Button type="submit" variant="primary" busy={busy}>
          {busy ? 'Submitting…' : 'Submit'}
        </Button>
        <Button disabled={busy || !isComplete} onClick={tryMethods}>
          Try several methods
        </Button>
        <Button
          variant="ghost"
          icon={<Code />}
          disabled={!isComplete}
          onClick={() => setCode(true)}
        >
          View as code
        </Button>
      </div>
      {isCode && (
        <Drawer title="This job as code" close={() => setCode(false)}>
          <CodeBlock tabs={jobCode(body, location.origin)} label="This job as code" />
        </Drawer>
      )}
    </aside>
  );
}

const EMPTY = 'Choose your data to see steps, time and memory.';

/** Returns "297 examples · 3 epochs · 111 steps · about 2 min · 1.9 GB". */
function estimateOf(plan: JobPreviewObject): string {
  const { examples, steps, seconds, memory, graft, estimate_source: source } = plan;
  const about = source === 'benchmark' ? 'roughly' : 'about';
  const { n_epochs: epochs } = plan.hyperparameters;
  const of = (n: number, one: string) => `${count(n)} ${one}${n === 1 ? '' : 's'}`;
  return [
    of(examples, 'example'),
    ...(graft.max_steps ? [] : [of(epochs, 'epoch')]),
    of(steps, 'step'),
    ...(seconds === null ? [] : [`${about} ${roughly(seconds)}`]),
    ...(memory ? [bytes(memory.process_bytes)] : []),
  ].join(' · ');
}

function Warnings({ warnings }: { warnings: readonly string[] }) {
  if (warnings.length === 0) return null;
  return (
    <ul className="lines warn" aria-label="Before you submit">
      {warnings.map((warning) => (
        <li key={warning}>{warning}</li>
      ))}
    </ul>
  );
}

interface ProblemsProps {
  readonly problems: readonly Problem[];
  readonly focus: (problem: Problem) => void;
}

/** All problems, each a link to its field. The API's own sentence is behind it. */
function Problems({ problems, focus }: ProblemsProps) {
  if (problems.length === 0) return null;
  return (
    <ul className="lines bad" role="alert" aria-label="To fix">
      {problems.map((problem) => (
        <li key={`${problem.path} ${problem.text}`}>
          {problem.path === null ? (
            problem.text
          ) : (
            <button
              type="button"
              className="text"
              title={problem.behind}
              onClick={() => focus(problem)}
            >
              {problem.label}: {problem.text}
            </button>
          )}
          {problem.behind && problem.path !== null && (
            <details>
              <summary>Message of the API</summary>
              {problem.behind}
            </details>
          )}
        </li>
      ))}
    </ul>
  );
}

type Fact = readonly [name: string, value: string, more?: string];

function tokensOf({ tokens, supervised_tokens: supervised, sampled }: DataReport): string {
  return `${sampled ? 'about ' : ''}${count(tokens)} tokens, ${count(supervised)} trained on`;
}

function trainedOf({ trainable_parameters: some, total_parameters: all }: JobPreviewObject): Fact {
  if (some === null) return ['Trainable', '–'];
  return all === null
    ? ['Trainable', amount(some), 'parameters']
    : ['Trainable', amount(some), `of ${amount(all)} parameters: ${short((100 * some) / all)} %`];
}

function memoryOf(plan: JobPreviewObject): readonly Fact[] {
  const text = memoryText(plan, bytes);
  return text ? [['Memory', text.total, text.parts]] : [];
}

/** Returns the expected position in the queue, if the API reports one. */
function startOf(plan: JobPreviewObject): readonly Fact[] {
  const [place, ...start] = placeText(plan).split(', ');
  return place ? [['Queue', place, start.join(', ')]] : [];
}

/** Returns the number of characters and the characters of a vocabulary built from the job's texts. */
function vocabularyOf({ graft }: JobPreviewObject): readonly Fact[] {
  const [size, which] = vocabularyText(graft)?.split(' characters: ') ?? [];
  return size === undefined ? [] : [['Vocabulary', size, which]];
}

function factsOf(plan: JobPreviewObject): readonly Fact[] {
  const { n_epochs: passes, batch_size: batch } = plan.hyperparameters;
  const { learning_rate: rate, lr_schedule: schedule } = plan.graft;
  const time: Fact =
    plan.seconds === null
      ? ['Time', 'unknown', 'no estimate yet for this base model']
      : ['Time', `about ${roughly(plan.seconds)}`, plan.seconds_from ?? undefined];
  return [
    ['Examples', count(plan.examples), tokensOf(plan.training)],
    ...(plan.validation
      ? [['Validation', count(plan.validation.examples), 'not trained on'] as const]
      : []),
    ['Epochs', count(passes), `in batches of ${count(batch)}`],
    ['Steps', count(plan.steps), `${amount(plan.tokens)} tokens in total`],
    time,
    ...memoryOf(plan),
    ...startOf(plan),
    trainedOf(plan),
    ...vocabularyOf(plan),
    ...(typeof rate === 'number'
      ? [['Learning rate', String(rate), String(schedule ?? '')] as const]
      : []),
  ];
}

const Details = ({ plan }: { plan: JobPreviewObject }) => (
  <dl className="plan-facts">
    {factsOf(plan).map(([name, value, more]) => (
      <div key={name}>
        <dt>{name}</dt>
        <dd>
          {value}
          {more && <small>{more}</small>}
        </dd>
      </div>
    ))}
  </dl>
);
