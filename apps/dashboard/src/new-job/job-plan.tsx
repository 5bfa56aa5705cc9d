import type { DataReport, JobPreviewObject } from '@graft/contracts';
import { amount, vocabularyText, memoryText, planLine, roughly } from '@graft/contracts/plan-line';
import { placeText } from '@graft/contracts/queue-place';
import { bytes, count, short } from '../format.js';
import { Failure } from '../ui/failure.js';
import { Sentences } from '../files/file-report.js';
import type { Preview } from './use-preview.js';

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
  const [count, which] = vocabularyText(graft)?.split(' characters: ') ?? [];
  return count === undefined ? [] : [['Vocabulary', count, which]];
}

function factsOf(plan: JobPreviewObject): readonly Fact[] {
  const { n_epochs: passes, batch_size: batch } = plan.hyperparameters;
  const { learning_rate: rate, lr_schedule: schedule } = plan.graft;
  const time: Fact =
    plan.seconds === null
      ? ['Time', 'unknown', 'available after the first job on this base']
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

/** Preview of the job that Submit would create. */
export function JobPlan({ plan, refused, asking }: Preview) {
  return (
    <section className="card plan" aria-label="What this job will do" aria-busy={asking}>
      <h2>What this job will do</h2>
      {plan === null && refused === null && (
        <p className="faint">
          {asking
            ? 'Analyzing the data…'
            : 'Choose a base and training data to see steps, time and size.'}
        </p>
      )}
      {plan && <Plan plan={plan} />}
      <Failure error={refused} />
    </section>
  );
}

function Plan({ plan }: { plan: JobPreviewObject }) {
  const line = planLine({
    examples: plan.examples,
    epochs: plan.hyperparameters.n_epochs,
    steps: plan.steps,
    seconds: plan.seconds,
    trainable: plan.trainable_parameters,
    total: plan.total_parameters,
  });
  return (
    <>
      <p role="status" className="plan-line">
        {line}
      </p>
      <dl>
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
      {plan.warnings.length > 0 && (
        <div className="notice warn">
          <b>
            <span aria-hidden="true">⚠</span> Before you submit
          </b>
          <Sentences of={plan.warnings} />
        </div>
      )}
    </>
  );
}
