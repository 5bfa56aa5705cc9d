import type { FileObject, JobPreviewObject, ModelObject } from '@graft/contracts';
import { useEffect } from 'react';
import { useMay } from '../own-key.js';
import { ACCEPTED, useUploads } from '../uploads.js';
import { ago, bytes, count } from '../wording.js';
import { ColumnPick } from './column-pick.js';
import { Failure } from './failure.js';
import { described, FieldProblem, isOf, type Refusal } from './field-problem.js';
import { FileReport } from './file-report.js';
import type { Draft } from './job-draft.js';
import { sampleFile } from './sample.js';

interface DataProps {
  readonly draft: Draft;
  readonly change: (part: Partial<Draft>) => void;
  readonly wrong: Refusal | null;
  readonly bases: readonly ModelObject[];
  readonly files: readonly FileObject[];
  readonly filesChanged: () => void;
}

const nameOf = (file: FileObject): string => {
  const records = file.graft ? ` · ${count(file.graft.records)} examples` : '';
  return `${file.filename}${records} · ${bytes(file.bytes)} · ${ago(file.created_at)}`;
};

/** What is trained, and on what. */
export function BaseAndData({ draft, change, wrong, bases, files, filesChanged }: DataProps) {
  const uploads = useUploads(filesChanged);
  const data = files
    .filter((f) => f.purpose === 'fine-tune' && f.status !== 'error')
    .map((f) => [f.id, nameOf(f)] as const);
  const [made] = uploads.fresh;
  useEffect(() => {
    if (made && made.status !== 'error') change({ training_file: made.id });
  }, [made]);
  const picked = (name: 'model' | 'training_file' | 'validation_file') => ({
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
          help="Chats, prompts with completions, or texts"
        />
        <Upload uploads={uploads} />
        <Pick
          {...picked('validation_file')}
          choices={data}
          none="none"
          help="Held out: its loss is shown, nothing is learnt from it"
        />
        <Text
          id="suffix"
          value={draft.suffix}
          wrong={wrong}
          change={(suffix) => change({ suffix })}
          placeholder="none"
          help="Part of the new model's name"
        />
      </div>
      {uploads.tables.map((table) => (
        <ColumnPick
          key={table.file.name}
          filename={table.file.name}
          columns={table.names}
          busy={uploads.busy !== null}
          onLeave={() => uploads.leave(table)}
          onPick={(columns) => void uploads.pick(table, columns)}
        />
      ))}
      {made && <FileReport file={made} />}
    </div>
  );
}

/** A file of this computer's as training data, or the sample. */
function Upload({ uploads }: { uploads: ReturnType<typeof useUploads> }) {
  const { busy, fresh, error, upload } = uploads;
  if (!useMay()('files:write')) return null;
  const [made] = fresh;
  const said = made ? `✓ ${made.filename} is uploaded` : 'The sample has 24 little sums';
  return (
    <div className="field">
      <b className="label">Upload training data</b>
      <span className="upload">
        <input
          id="upload"
          className="unseen"
          type="file"
          accept={ACCEPTED}
          disabled={busy !== null}
          onChange={(e) => {
            void upload([...(e.target.files ?? [])]);
            e.target.value = ''; // the same file may be chosen again once it is mended
          }}
        />
        <label htmlFor="upload" className="button">
          Choose a file…
        </label>
        <button type="button" disabled={busy !== null} onClick={() => void upload([sampleFile()])}>
          Use a sample
        </button>
      </span>
      <small role="status">{busy ? `Uploading ${busy}…` : said}</small>
      <Failure error={error} />
    </div>
  );
}

interface PaceProps {
  readonly draft: Draft;
  readonly change: (part: Partial<Draft>) => void;
  readonly wrong: Refusal | null;
  readonly defaultRate: number;
  /** What "auto" becomes for the chosen data, once it is known. */
  readonly plan: JobPreviewObject | null;
}

/** How long and how fast it learns. What is left alone shows what it becomes. */
export function Pace({ draft, change, wrong, defaultRate, plan }: PaceProps) {
  const auto = (value: number | undefined) => (value === undefined ? 'auto' : `auto: ${value}`);
  const field = (name: 'n_epochs' | 'batch_size' | 'seed') => ({
    id: name,
    value: draft[name],
    wrong,
    change: (value: string) => change({ [name]: value }),
  });
  return (
    <div className="card">
      <div className="fields">
        <Text
          {...field('n_epochs')}
          placeholder={auto(plan?.hyperparameters.n_epochs)}
          help="Passes over the data, 1 to 50"
        />
        <Text
          {...field('batch_size')}
          placeholder={auto(plan?.hyperparameters.batch_size)}
          help="Examples in a step"
        />
        <Text
          id="graft.learning_rate"
          label="learning_rate"
          value={draft.graft['learning_rate'] ?? ''}
          wrong={wrong}
          change={(rate) => change({ graft: { ...draft.graft, learning_rate: rate } })}
          placeholder={String(defaultRate)}
          help="Size of a step at its peak"
        />
        <Text
          {...field('seed')}
          placeholder="42"
          help="Fixes data order, dropout and new weights"
        />
      </div>
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

interface TextProps {
  /** Path of the field in the body; its last part is the label unless another is given. */
  readonly id: string;
  readonly label?: string;
  readonly value: string;
  readonly change: (value: string) => void;
  readonly placeholder: string;
  readonly wrong: Refusal | null;
  readonly help: string;
}

function Text({ id, label = id, value, change, placeholder, wrong, help }: TextProps) {
  // n_epochs comes back as method.supervised.hyperparameters.n_epochs
  const bad = isOf(wrong, id) || wrong?.param?.endsWith(`hyperparameters.${id}`) === true;
  return (
    <div className={bad ? 'field wrong' : 'field'}>
      <label htmlFor={id}>{label}</label>
      <input
        id={id}
        value={value}
        placeholder={placeholder}
        aria-invalid={bad}
        aria-describedby={described(id, { help: true, bad })}
        onChange={(e) => change(e.target.value)}
      />
      {bad && <FieldProblem id={id} wrong={wrong} />}
      <small id={`${id}-help`}>{help}</small>
    </div>
  );
}
