import type { FileObject, ModelObject } from '@graft/contracts';
import { useState } from 'react';
import { api } from '../api.js';
import { ago, bytes } from '../wording.js';
import { Failure } from './failure.js';
import { described, FieldProblem, isOf, type Refusal } from './field-problem.js';
import { FileReport } from './file-report.js';
import type { Draft } from './job-draft.js';
import { sampleFile } from './sample.js';

interface BasicsProps {
  readonly draft: Draft;
  readonly change: (part: Partial<Draft>) => void;
  readonly wrong: Refusal | null;
  readonly bases: readonly ModelObject[];
  readonly files: readonly FileObject[];
  readonly filesChanged: () => void;
}

/** Base, data, name and the few numbers that every job has. */
export function Basics({ draft, change, wrong, bases, files, filesChanged }: BasicsProps) {
  const [added, setAdded] = useState<FileObject | null>(null);
  const [error, setError] = useState<Error | null>(null);
  const data = files
    .filter((f) => f.purpose === 'fine-tune' && f.status !== 'error')
    .map((f) => [f.id, `${f.filename} · ${bytes(f.bytes)} · ${ago(f.created_at)}`] as const);
  const upload = (chosen: File | undefined) => {
    if (!chosen) return;
    setError(null);
    const take = (file: FileObject) => {
      setAdded(file);
      filesChanged();
      if (file.status !== 'error') change({ training_file: file.id });
    };
    api.upload(chosen).then(take, setError);
  };
  const picked = (name: 'model' | 'training_file' | 'validation_file') => ({
    label: name,
    value: draft[name],
    wrong,
    change: (value: string) => change({ [name]: value }),
  });
  const text = (name: 'suffix' | 'n_epochs' | 'batch_size' | 'seed') => ({
    label: name,
    value: draft[name],
    wrong,
    change: (value: string) => change({ [name]: value }),
  });
  return (
    <div className="card">
      <div className="fields">
        <Pick
          {...picked('model')}
          required
          choices={bases.map((m) => [m.id, m.id])}
          none="Import a base first (Models)"
          help="The frozen base that the adapter is trained on"
        />
        <Pick
          {...picked('training_file')}
          required
          choices={data}
          none="Choose or upload one"
          help="Chats, prompts with completions, or texts: one JSON object a line"
        />
        <div className="field">
          <label htmlFor="upload">or upload training data</label>
          <input
            id="upload"
            type="file"
            accept=".jsonl"
            onChange={(e) => (upload(e.target.files?.[0]), (e.target.value = ''))}
          />
          <small>
            or{' '}
            <button type="button" className="small" onClick={() => upload(sampleFile())}>
              take a sample
            </button>{' '}
            of 24 sums
          </small>
        </div>
        <Pick
          {...picked('validation_file')}
          choices={data}
          none="none"
          help="Held out: its loss is shown, nothing is learnt from it"
        />
        <Text {...text('suffix')} placeholder="none" help="Part of the new model's name" />
        <Text {...text('n_epochs')} placeholder="auto" help="Passes over the data" />
        <Text {...text('batch_size')} placeholder="auto" help="Examples in a step" />
        <Text {...text('seed')} placeholder="auto" help="Of data order, dropout and new weights" />
      </div>
      <Failure error={error} />
      {added && <FileReport file={added} />}
    </div>
  );
}

interface PickProps {
  readonly label: string;
  readonly value: string;
  readonly choices: readonly (readonly [string, string])[];
  readonly change: (value: string) => void;
  readonly none: string;
  readonly wrong: Refusal | null;
  readonly help: string;
  readonly required?: boolean;
}

function Pick({ label, value, choices, change, none, wrong, help, required }: PickProps) {
  const bad = isOf(wrong, label);
  return (
    <div className={bad ? 'field wrong' : 'field'}>
      <label htmlFor={label}>{label}</label>
      <select
        id={label}
        value={value}
        required={required}
        aria-invalid={bad}
        aria-describedby={described(label, { help: true, bad })}
        onChange={(e) => change(e.target.value)}
      >
        <option value="">{none}</option>
        {choices.map(([id, text]) => (
          <option key={id} value={id}>
            {text}
          </option>
        ))}
      </select>
      {bad && <FieldProblem id={label} wrong={wrong} />}
      <small id={`${label}-help`}>{help}</small>
    </div>
  );
}

function Text({
  label,
  value,
  change,
  placeholder,
  wrong,
  help,
}: {
  label: string;
  value: string;
  change: (value: string) => void;
  placeholder: string;
  wrong: Refusal | null;
  help: string;
}) {
  // n_epochs comes back as method.supervised.hyperparameters.n_epochs
  const bad = isOf(wrong, label) || wrong?.param?.endsWith(`hyperparameters.${label}`) === true;
  return (
    <div className={bad ? 'field wrong' : 'field'}>
      <label htmlFor={label}>{label}</label>
      <input
        id={label}
        value={value}
        placeholder={placeholder}
        aria-invalid={bad}
        aria-describedby={described(label, { help: true, bad })}
        onChange={(e) => change(e.target.value)}
      />
      {bad && <FieldProblem id={label} wrong={wrong} />}
      <small id={`${label}-help`}>{help}</small>
    </div>
  );
}
