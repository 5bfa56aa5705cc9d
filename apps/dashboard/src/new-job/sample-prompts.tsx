import type { CatalogTask, FileObject } from '@graft/contracts';
import { problemAt } from '../forms/field-problem.js';
import { Field, fieldTexts } from '../ui/controls/field.js';
import type { FormState } from './form-state.js';
import { asksChats } from './prompt-lines.js';

interface Props extends FormState {
  readonly task: CatalogTask;
  /** The training file. If it contains chats, a line is a user message; otherwise text to continue. */
  readonly file: FileObject | undefined;
}

const ID = 'graft.sample_prompts';
const HELP = 'Up to 8, one per line, answered during training';

/** Field for `graft.sample_prompts`, for tasks that generate text. */
export function SamplePrompts({ draft, change, problems, task, file }: Props) {
  const problem = problemAt(problems, ID);
  if (task.use !== 'chat') return null;
  const text = `The adapter answers them at the start, at each evaluation and at the end, ${asksChats(file) ? 'as user messages' : 'as text to continue'}.`;
  return (
    <Field id={ID} label="Sample prompts" help={HELP} info={{ path: ID, text }} problem={problem}>
      <textarea
        id={ID}
        rows={3}
        value={draft.graft['sample_prompts'] ?? ''}
        placeholder="none"
        aria-invalid={problem !== null}
        aria-describedby={fieldTexts(ID, { help: HELP, problem })}
        onChange={({ target: { value } }) =>
          change((now) => ({ graft: { ...now.graft, sample_prompts: value } }))
        }
      />
    </Field>
  );
}
