import type { ModelObject } from '@graft/contracts';
import { useNavigate } from '@tanstack/react-router';
import { useState, type FormEvent } from 'react';
import { api } from '../api/api.js';
import { useLoaded } from '../api/loaded.js';
import { count, modelTitle } from '../format.js';
import { Button } from '../ui/controls/button.js';
import { Combobox } from '../ui/controls/combobox.js';
import { Field, fieldTexts } from '../ui/controls/field.js';
import { Failure } from '../ui/feedback/failure.js';
import { Drawer } from '../ui/overlays/drawer.js';
import {
  evalBody,
  fieldsIn,
  itemLines,
  MAX_ITEMS_BYTES,
  OPERATIONS,
  parseItems,
  runBody,
  type Operation,
} from './eval-items.js';

type Items = ReturnType<typeof parseItems>;

/** Whether a model can be run: it is ready and writes text. */
export const isChat = ({ graft }: ModelObject): boolean =>
  (graft?.status ?? 'ready') === 'ready' && (graft?.uses?.[0] ?? 'chat') === 'chat';

interface NewEvalDraft {
  readonly items: Items;
  readonly name: string;
  readonly prompt: string;
  readonly reference: string;
  readonly operation: Operation;
  readonly model: string;
}

const BLANK: NewEvalDraft = {
  items: [],
  name: '',
  prompt: '',
  reference: '',
  operation: 'eq',
  model: '',
};

/** State of the form, with functions that read the questions and create the eval. */
function useNewEval() {
  const navigate = useNavigate();
  const [draft, setDraft] = useState(BLANK);
  const [error, setError] = useState<Error | null>(null);
  const [isBusy, setBusy] = useState(false);
  const change = (part: Partial<NewEvalDraft>) => setDraft((now) => ({ ...now, ...part }));

  const read = async (file: File | undefined) => {
    if (!file) return;
    setError(null);
    try {
      if (file.size > MAX_ITEMS_BYTES) throw new Error(TOO_LARGE);
      const items = parseItems(await file.text());
      const [first = '', second = first] = fieldsIn(items);
      change({
        items,
        name: draft.name || file.name.replace(/\.[^.]+$/, ''),
        prompt: draft.prompt || `{{item.${first}}}`,
        reference: draft.reference || `{{item.${second}}}`,
      });
    } catch (problem) {
      change({ items: [] });
      setError(problem as Error);
    }
  };
  const submit = async () => {
    const { items, name, prompt, model } = draft;
    setBusy(true);
    setError(null);
    try {
      const made = await api.createEval(evalBody(draft, fieldsIn(items)));
      const file = await api.uploadItems(`${name}.jsonl`, itemLines(items));
      await api.createEvalRun(made.id, runBody(model, file.id, prompt));
      await navigate({ to: '/evals/$id', params: { id: made.id } });
    } catch (problem) {
      setError(problem as Error);
      setBusy(false);
    }
  };
  return { draft, change, read, submit, error, isBusy };
}

const TOO_LARGE =
  'The file is larger than 50 MB. Create the eval with `graft evals create` instead.';

/** Form for an eval of a file of questions, and its first run. */
export function NewEval({ close }: { close: () => void }) {
  const { draft, change, read, submit, error, isBusy } = useNewEval();
  const models = useLoaded(['models'], async () => (await api.models()).data);
  const choices = (models.value ?? [])
    .filter(isChat)
    .map(({ id }) => ({ value: id, label: modelTitle(id) }));
  return (
    <Drawer title="New eval" close={close}>
      <form
        className="import-base"
        onSubmit={(event: FormEvent) => {
          event.preventDefault();
          void submit();
        }}
      >
        <ItemsField items={draft.items} read={(file) => void read(file)} />
        <Failure error={error} />
        <Questions draft={draft} change={change} />
        <Field id="eval-model" label="First model to run">
          <Combobox
            id="eval-model"
            value={draft.model}
            options={choices}
            change={(model) => change({ model })}
          />
        </Field>
        <Button
          type="submit"
          variant="primary"
          busy={isBusy}
          disabled={draft.items.length === 0 || draft.model === ''}
        >
          Create and run
        </Button>
      </form>
    </Drawer>
  );
}

interface QuestionsProps {
  readonly draft: NewEvalDraft;
  readonly change: (part: Partial<NewEvalDraft>) => void;
}

/** Name, prompt and grading of the eval. */
const Questions = ({ draft, change }: QuestionsProps) => (
  <>
    <Field id="eval-name" label="Name">
      <input
        id="eval-name"
        required
        value={draft.name}
        onChange={(event) => change({ name: event.target.value })}
      />
    </Field>
    <Template
      id="eval-prompt"
      label="Prompt"
      help="Sent for each question; {{item.…}} inserts a field"
      value={draft.prompt}
      change={(prompt) => change({ prompt })}
    />
    <Field id="eval-operation" label="An answer passes if it">
      <select
        id="eval-operation"
        value={draft.operation}
        onChange={(event) => change({ operation: event.target.value as Operation })}
      >
        {OPERATIONS.map(([value, text]) => (
          <option key={value} value={value}>
            {text}
          </option>
        ))}
      </select>
    </Field>
    <Template
      id="eval-reference"
      label="Expected answer"
      help="Compared with the answer; {{item.…}} inserts a field"
      value={draft.reference}
      change={(reference) => change({ reference })}
    />
  </>
);

interface ItemsFieldProps {
  readonly items: Items;
  readonly read: (file: File | undefined) => void;
}

function ItemsField({ items, read }: ItemsFieldProps) {
  const help =
    items.length === 0
      ? 'JSON Lines, one question per line'
      : `${count(items.length)} questions with ${fieldsIn(items).join(', ')}`;
  return (
    <Field id="eval-items" label="Questions" help={help}>
      <input
        id="eval-items"
        type="file"
        accept=".jsonl,.json,application/jsonl"
        aria-describedby={fieldTexts('eval-items', { help })}
        onChange={(event) => read(event.target.files?.[0])}
      />
    </Field>
  );
}

interface TemplateProps {
  readonly id: string;
  readonly label: string;
  readonly help: string;
  readonly value: string;
  readonly change: (value: string) => void;
}

const Template = ({ id, label, help, value, change }: TemplateProps) => (
  <Field id={id} label={label} help={help}>
    <textarea
      id={id}
      rows={2}
      required
      value={value}
      aria-describedby={fieldTexts(id, { help })}
      onChange={(event) => change(event.target.value)}
    />
  </Field>
);
