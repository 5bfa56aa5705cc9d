import type { FileObject, JobPreviewObject, ModelObject } from '@graft/contracts';
import { useContext, useEffect, useState } from 'react';
import { useMay } from '../api/own-key.js';
import { namesOf, RecordFormats } from '../files/record-formats.js';
import {
  ACCEPTED,
  placeNow,
  markUploadSelected,
  upload,
  useUploads,
  type Upload,
} from '../files/uploads.js';
import { ago, bytes, count } from '../format.js';
import type { Change } from '../forms/change.js';
import { ColumnPick } from '../files/column-pick.js';
import { Failure } from '../ui/failure.js';
import type { Refusal } from '../forms/field-problem.js';
import { Pick, Text } from '../forms/fields.js';
import { FileReport } from '../files/file-report.js';
import { HeldOut } from './held-out.js';
import type { Draft } from './job-draft.js';
import { sampleFile } from './sample.js';

interface FieldsProps {
  readonly draft: Draft;
  readonly change: Change<Draft>;
  readonly wrong: Refusal | null;
}

interface DataProps extends FieldsProps {
  readonly files: readonly FileObject[];
  readonly filesChanged: () => void;
}

const nameOf = (file: FileObject): string => {
  const records = file.graft ? ` · ${count(file.graft.records)} examples` : '';
  return `${file.filename}${records} · ${bytes(file.bytes)} · ${ago(file.created_at)}`;
};

/** Fields for training and validation files. */
export function TrainingData({ draft, change, wrong, files, filesChanged }: DataProps) {
  const uploads = useOwnUploads();
  const expected = namesOf(useContext(RecordFormats));
  const data = files
    .filter((f) => f.purpose === 'fine-tune' && f.status !== 'error')
    .map((f) => [f.id, nameOf(f)] as const);
  const arrived = uploads.findLast(({ state }) => state === 'done');
  useEffect(() => {
    if (!arrived?.file || arrived.isSelected) return;
    markUploadSelected(arrived.id);
    filesChanged();
    if (arrived.file.status !== 'error') change({ training_file: arrived.file.id });
  }, [arrived]);
  const picked = (name: 'training_file' | 'validation_file') => ({
    id: name,
    value: draft[name],
    wrong,
    change: (value: string) => change({ [name]: value }),
  });
  return (
    <div className="card">
      <div className="fields">
        <Pick
          {...picked('training_file')}
          label="Training file"
          required
          choices={data}
          none="Choose or upload a file"
          help={`${expected.charAt(0).toUpperCase()}${expected.slice(1)}`}
        />
        <UploadField uploads={uploads} />
        <Pick
          {...picked('validation_file')}
          label="Validation file"
          choices={data}
          none="none"
          help="Used to measure the loss, never trained on (validation_file)"
        />
        <HeldOut
          {...{ draft, change, wrong }}
          file={files.find(({ id }) => id === draft.training_file)}
        />
      </div>
      {uploads
        .filter(({ state }) => state === 'asks')
        .map((one) => (
          <ColumnPick key={one.id} table={one} />
        ))}
      {arrived?.file && <FileReport file={arrived.file} />}
    </div>
  );
}

/** Fields for the base model and the new model's name. */
export function BaseModel({
  draft,
  change,
  wrong,
  bases,
}: FieldsProps & { readonly bases: readonly ModelObject[] }) {
  return (
    <div className="card">
      <div className="fields">
        <Pick
          id="model"
          label="Base model"
          value={draft.model}
          wrong={wrong}
          change={(model) => change({ model })}
          required
          choices={bases.map(({ id }) => [id, id])}
          none="Import a base model first (Models)"
          help="The frozen model that the adapter is trained on (model)"
        />
        <Text
          id="suffix"
          label="Suffix"
          value={draft.suffix}
          wrong={wrong}
          change={(suffix) => change({ suffix })}
          placeholder="none"
          help="Suffix of the new model's name (suffix)"
        />
      </div>
    </div>
  );
}

/** Returns the uploads that started in this form, including those from before it was left. */
function useOwnUploads(): readonly Upload[] {
  const [place] = useState(placeNow);
  return useUploads().filter((one) => one.place === place);
}

/** Uploads a file as training data, or the sample. */
function UploadField({ uploads }: { uploads: readonly Upload[] }) {
  if (!useMay()('files:write')) return null;
  const last = uploads.at(-1);
  return (
    <div className="field">
      <b className="label">Upload training data</b>
      <span className="upload">
        <input
          id="upload"
          className="unseen"
          type="file"
          accept={ACCEPTED}
          onChange={(e) => {
            upload([...(e.target.files ?? [])]);
            e.target.value = ''; // Allows the same file to be chosen again after it was fixed.
          }}
        />
        <label htmlFor="upload" className="button">
          Choose a file…
        </label>
        <button type="button" onClick={() => upload([sampleFile()])}>
          Use a sample data set
        </button>
      </span>
      <small>{last ? noteOf(last) : 'The sample has 24 arithmetic examples'}</small>
      <Failure error={last?.error ?? null} />
    </div>
  );
}

function noteOf({ name, state }: Upload): string {
  if (state === 'done') return `✓ ${name} uploaded`;
  if (state === 'failed') return `${name} was not uploaded`;
  return state === 'asks'
    ? `${name} is a table. Choose its columns.`
    : `${name} is being uploaded. You can leave this page; the form selects the file when it has arrived.`;
}

interface PaceProps extends FieldsProps {
  readonly defaultRate: number;
  /** Values of "auto" for the selected data, once known. */
  readonly plan: JobPreviewObject | null;
}

/** Fields for training length and speed. Placeholders show the defaults. */
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
          label="Epochs"
          placeholder={auto(plan?.hyperparameters.n_epochs)}
          help="Passes over the data, 1 to 50 (n_epochs)"
        />
        <Text
          {...field('batch_size')}
          label="Batch size"
          placeholder={auto(plan?.hyperparameters.batch_size)}
          help="Examples per step (batch_size)"
        />
        <Text
          id="graft.learning_rate"
          label="Learning rate"
          value={draft.graft['learning_rate'] ?? ''}
          wrong={wrong}
          change={(rate) => change(({ graft }) => ({ graft: { ...graft, learning_rate: rate } }))}
          placeholder={String(defaultRate)}
          help="Peak learning rate (learning_rate)"
        />
        <Text
          {...field('seed')}
          label="Seed"
          placeholder="42"
          help="For data order, dropout and weight initialization (seed)"
        />
      </div>
    </div>
  );
}
