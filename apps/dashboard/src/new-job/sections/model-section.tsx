import type { CatalogTask, JobPreviewObject, ModelObject } from '@graft/contracts';
import { amount } from '@graft/contracts/plan-line';
import { Answer, useOpen } from '../../forms/answer.js';
import { problemAt } from '../../forms/field-problem.js';
import { bytes } from '../../format.js';
import { Combobox } from '../../ui/controls/combobox.js';
import { Field } from '../../ui/controls/field.js';
import { Link } from '../../ui/link.js';
import { fitOf, isUsable, memoryOf, sizeOf, type Situation } from '../base-choice.js';
import type { FormState } from '../form-state.js';
import { misfitOf } from '../job-draft.js';

interface Props extends FormState {
  /** Base models, best fit first. */
  readonly bases: readonly ModelObject[];
  readonly base: ModelObject | undefined;
  readonly task: CatalogTask;
  readonly situation: Situation;
  readonly plan: JobPreviewObject | null;
}

/** The base model, with its size and whether it fits on a worker. */
export function ModelSection(props: Props) {
  const { bases, base, draft, change, problems, situation, plan } = props;
  const problem = problemAt(problems, 'model');
  const [isOpen, setOpen] = useOpen(problem !== null || base === undefined);
  const needed = plan?.memory?.process_bytes ?? null;
  const fit = fitOf(needed ?? (base ? memoryOf(base) : null), situation.workers, situation.pool);
  return (
    <Answer
      title="Model"
      line={
        base ? (
          <>
            <b>{base.id}</b>
            <span>
              {base.graft?.parameters ? `${amount(base.graft.parameters)} parameters` : ''}
              {fit && ' · '}
              {fit && <span className={fit.fits ? undefined : 'bad'}>{fit.text}</span>}
            </span>
          </>
        ) : (
          <span>
            Import a base model first. <Link to="/models">Import a model</Link>
          </span>
        )
      }
      more={bases.length > 0 ? 'Change' : null}
      isOpen={isOpen && bases.length > 0}
      setOpen={setOpen}
    >
      <Field
        id="model"
        label="Base model"
        help="The model that learns from your data"
        info={{
          path: 'model',
          text: 'Its weights stay frozen; the job trains an adapter on them.',
        }}
        problem={problem}
      >
        <Combobox
          id="model"
          value={base?.id ?? ''}
          invalid={problem !== null}
          options={bases.map((one) => optionOf(one, props))}
          change={(model) => {
            change({ model });
            setOpen(false);
          }}
        />
      </Field>
      {draft.model !== '' && bases[0] && bases[0].id !== draft.model && (
        <p className="faint">
          Suggested for this data:{' '}
          <button type="button" className="text" onClick={() => change({ model: '' })}>
            {bases[0].id}
          </button>
        </p>
      )}
    </Answer>
  );
}

function optionOf(base: ModelObject, { situation, task, bases }: Props) {
  const { catalog, file, workers, pool, jobs } = situation;
  const needed = memoryOf(base);
  const fit = fitOf(needed, workers, pool);
  const misfit = isUsable(base, situation) ? null : misfitOf(task, { file, base }, catalog);
  const memory = needed === null ? '' : ` · about ${bytes(needed)} of memory`;
  const text = misfit
    ? `${sizeOf(base)} · ${misfit.reason}`
    : `${sizeOf(base)}${fit && !fit.fits ? ` · ${fit.text}` : memory}`;
  const isLast = jobs[0]?.model === base.id;
  return {
    value: base.id,
    label: base.id,
    text,
    ...(isLast ? { badge: 'last used' } : base === bases[0] ? { badge: 'suggested' } : {}),
  };
}
