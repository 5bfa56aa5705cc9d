import type { FileObject } from '@graft/contracts';
import { FileUp } from 'lucide-react';
import { useEffect, useState, type DragEvent } from 'react';
import { useMay } from '../../api/own-key.js';
import { ColumnPick } from '../../files/column-pick.js';
import { examplesIn, FileReport, labelsIn } from '../../files/file-report.js';
import { namesOf, useRecordFormats } from '../../files/record-formats.js';
import {
  ACCEPTED,
  markUploadSelected,
  placeNow,
  upload,
  useUploads,
  type Upload,
} from '../../files/uploads.js';
import { Answer, useOpen } from '../../forms/answer.js';
import type { Change } from '../../forms/change.js';
import { problemAt, type Problem } from '../../forms/field-problem.js';
import { ago, bytes, count } from '../../format.js';
import { Button } from '../../ui/controls/button.js';
import { Combobox, type Option } from '../../ui/controls/combobox.js';
import { Field } from '../../ui/controls/field.js';
import { Failure } from '../../ui/feedback/failure.js';
import { AllRows, FilePreview } from '../file-preview.js';
import { HeldOut } from '../held-out.js';
import type { Draft } from '../job-draft.js';
import { sampleFile } from '../sample.js';

interface Props {
  readonly draft: Draft;
  readonly change: Change<Draft>;
  readonly problems: readonly Problem[];
  readonly files: readonly FileObject[];
  readonly filesChanged: () => void;
}

const optionOf = (file: FileObject): Option => ({
  value: file.id,
  label: file.filename,
  text: `${file.graft ? `${count(file.graft.records)} examples · ` : ''}${bytes(file.bytes)} · ${ago(file.created_at)}`,
});

/** Training data: a summary and its first rows, or the ways to choose a file. */
export function DataSection({ draft, change, problems, files, filesChanged }: Props) {
  const uploads = useOwnUploads();
  const file = files.find(({ id }) => id === draft.training_file);
  const asks = uploads.filter(({ state }) => state === 'asks');
  const arrived = uploads.findLast(({ state }) => state === 'done');
  const isUnusable = arrived?.file?.status === 'error';
  const [isOpen, setOpen] = useOpen(
    !draft.training_file || problemIn(problems) || asks.length > 0 || isUnusable,
  );
  useEffect(() => {
    if (!arrived?.file || arrived.isSelected) return;
    markUploadSelected(arrived.id);
    filesChanged();
    if (arrived.file.status === 'error') return;
    change({ training_file: arrived.file.id });
    setOpen(false);
  }, [arrived]);
  const choose = (id: string) => {
    change({ training_file: id });
    setOpen(false);
  };
  return (
    <Answer
      title="Data"
      line={file ? <Summary file={file} /> : <Unanswered id={draft.training_file} />}
      more={draft.training_file ? 'Change' : null}
      isOpen={isOpen || !draft.training_file}
      setOpen={setOpen}
      pinned={
        file && (
          <>
            <FilePreview file={file} />
            <div className="data-foot">
              <HeldOut {...{ draft, change, file }} />
              <AllRows file={file} />
            </div>
            <Warnings file={file} />
          </>
        )
      }
    >
      <DropZone uploads={uploads} />
      {asks.map((one) => (
        <ColumnPick key={one.id} table={one} />
      ))}
      {isUnusable && arrived.file && <FileReport file={arrived.file} />}
      <div className="fields">
        <FilePick
          id="training_file"
          label="Training file"
          placeholder="Choose an uploaded file…"
          value={draft.training_file}
          options={files.filter(isUsable).map(optionOf)}
          change={choose}
          problem={problemAt(problems, 'training_file')}
        />
        <FilePick
          id="validation_file"
          label="Validation file"
          placeholder="None"
          help="Measured, never trained on"
          value={draft.validation_file}
          options={[{ value: '', label: 'None' }, ...files.filter(isUsable).map(optionOf)]}
          change={(id) => change({ validation_file: id })}
          problem={problemAt(problems, 'validation_file')}
        />
      </div>
    </Answer>
  );
}

const isUsable = ({ purpose, status }: FileObject): boolean =>
  purpose === 'fine-tune' && status !== 'error';

const problemIn = (problems: readonly Problem[]): boolean =>
  ['training_file', 'validation_file'].some((id) => problemAt(problems, id) !== null);

/** The file's name and contents: "tickets.csv · 300 labeled texts · 6 labels". */
function Summary({ file }: { file: FileObject }) {
  const formats = useRecordFormats();
  const report = file.graft;
  return (
    <>
      <b>{file.filename}</b>
      {report && (
        <span>
          {examplesIn(report, formats)}
          {report.labels && ` · ${labelsIn(report.labels)}`}
        </span>
      )}
    </>
  );
}

const Unanswered = ({ id }: { id: string }) =>
  id ? (
    <span>The chosen file no longer exists</span>
  ) : (
    <span>Which examples should the model learn from?</span>
  );

function Warnings({ file: { graft } }: { file: FileObject }) {
  if (!graft || graft.warnings.length === 0) return null;
  return (
    <ul className="lines warn">
      {graft.warnings.map((warning) => (
        <li key={warning}>{warning}</li>
      ))}
    </ul>
  );
}

interface PickProps {
  readonly id: string;
  readonly label: string;
  readonly placeholder: string;
  readonly help?: string;
  readonly value: string;
  readonly options: readonly Option[];
  readonly change: (id: string) => void;
  readonly problem: string | null;
}

const FilePick = ({ id, label, help, problem, ...choice }: PickProps) => (
  <Field {...{ id, label, problem }} {...(help && { help })} info={{ path: id }}>
    <Combobox {...choice} id={id} invalid={problem !== null} />
  </Field>
);

/** Returns the uploads that started in this form, including those from before it was left. */
function useOwnUploads(): readonly Upload[] {
  const [place] = useState(placeNow);
  return useUploads().filter((one) => one.place === place);
}

/** Area that takes a dropped file, with buttons for choosing one and for the sample. */
export function DropZone({ uploads }: { uploads: readonly Upload[] }) {
  const [isOver, setOver] = useState(false);
  const expected = namesOf(useRecordFormats());
  if (!useMay()('files:write')) return null;
  const last = uploads.at(-1);
  const over = (is: boolean) => (event: DragEvent) => {
    event.preventDefault();
    setOver(is);
  };
  return (
    <div
      className={isOver ? 'drop-zone over' : 'drop-zone'}
      onDragOver={over(true)}
      onDragLeave={over(false)}
      onDrop={(event) => {
        event.preventDefault();
        setOver(false);
        upload([...event.dataTransfer.files]);
      }}
    >
      <FileUp aria-hidden="true" />
      <p>
        Drop a CSV, JSON Lines, Parquet or ZIP file here{' '}
        <small title={expected}>{last && noteOf(last)}</small>
      </p>
      <span className="actions">
        <input
          id="upload"
          className="unseen"
          type="file"
          accept={ACCEPTED}
          onChange={(event) => {
            upload([...(event.target.files ?? [])]);
            event.target.value = ''; // Allows the same file to be chosen again after it was fixed.
          }}
        />
        <label htmlFor="upload" className="button">
          Choose a file…
        </label>{' '}
        <Button variant="ghost" onClick={() => upload([sampleFile()])}>
          Use sample data
        </Button>
      </span>
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
