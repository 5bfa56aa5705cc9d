import type { CatalogTask, FileObject } from '@graft/contracts';
import type { Change } from '../forms/change.js';
import { described, FieldProblem, isOf, type Refusal } from '../forms/field-problem.js';
import type { Draft } from './job-draft.js';
import { asksChats } from './prompt-lines.js';

interface Props {
  readonly draft: Draft;
  readonly change: Change<Draft>;
  readonly wrong: Refusal | null;
  readonly task: CatalogTask;
  /** The training file. If it contains chats, a line is a user message; otherwise text to continue. */
  readonly file: FileObject | undefined;
}

const ID = 'graft.sample_prompts';

/** Field for `graft.sample_prompts`, for tasks that generate text. */
export function SamplePrompts({ draft, change, wrong, task, file }: Props) {
  const bad = isOf(wrong, ID);
  if (task.use !== 'chat') return null;
  return (
    <div className="card">
      <div className={bad ? 'field wrong' : 'field'}>
        <label htmlFor={ID}>Sample prompts</label>
        <textarea
          id={ID}
          rows={3}
          value={draft.graft['sample_prompts'] ?? ''}
          placeholder="none"
          aria-invalid={bad}
          aria-describedby={described(ID, { help: true, bad })}
          onChange={({ target: { value } }) =>
            change((now) => ({ graft: { ...now.graft, sample_prompts: value } }))
          }
        />
        {bad && <FieldProblem id={ID} wrong={wrong} />}
        <small id={`${ID}-help`}>
          Up to 8, one per line. The adapter answers them at the start, at each evaluation and at
          the end ({asksChats(file) ? 'as user messages' : 'as text to continue'}; sample_prompts)
        </small>
      </div>
    </div>
  );
}
