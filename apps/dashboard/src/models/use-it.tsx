import type { CreateOperation, ModelObject } from '@graft/contracts';
import { nameOfOperation } from '@graft/contracts/adapter-operation-names';
import { snippetsOfModel } from '@graft/contracts/model-snippets';
import { ChevronDown, Download } from 'lucide-react';
import { useState, type FormEvent } from 'react';
import { api } from '../api/api.js';
import { useLoaded } from '../api/loaded.js';
import { useMay } from '../api/own-key.js';
import { CombineAdapters } from './combine-adapters.js';
import { PushToHub } from './push-to-hub.js';
import { archive, download } from '../api/download.js';
import { bytes } from '../format.js';
import { CodeBlock } from '../ui/code-block.js';
import { Button } from '../ui/controls/button.js';
import { Failure } from '../ui/feedback/failure.js';
import { Drawer } from '../ui/overlays/drawer.js';
import { Section } from '../ui/page.js';
import { ModelExports, useOperations } from './model-exports.js';

type One = Exclude<CreateOperation, { type: 'combine' }>;
type Way = One extends infer T ? (T extends One ? Omit<T, 'model'> : never) : never;

/** Formats that an adapter can be exported to, most common first. Null combines it with other adapters. */
const WAYS: readonly (readonly [title: string, way: Way | null])[] = [
  [
    'GGUF Q4_K_M (Ollama, llama.cpp; about ¼ of the size)',
    { type: 'export', format: 'gguf', quantization: 'Q4_K_M' },
  ],
  ['GGUF Q8_0', { type: 'export', format: 'gguf', quantization: 'Q8_0' }],
  ['GGUF F16', { type: 'export', format: 'gguf', quantization: 'F16' }],
  ['GGUF adapter, for use with a GGUF base', { type: 'export', format: 'gguf_adapter' }],
  ['LoRA folder for vLLM', { type: 'export', format: 'vllm' }],
  ['Merged weights for transformers', { type: 'merge' }],
  ['LoRA of rank 16 (converted)', { type: 'convert', rank: 16 }],
  ['LoRA combined from several', null],
];

interface Props {
  readonly model: ModelObject;
  /** Files of the model in the file store, which can be downloaded one by one. */
  readonly files: readonly string[];
}

/** Button that opens everything one can do with a model outside the dashboard. */
export function UseItButton(props: Props) {
  const [isOpen, setOpen] = useState(false);
  return (
    <>
      <Button aria-haspopup="dialog" onClick={() => setOpen(true)}>
        Use it <ChevronDown aria-hidden="true" />
      </Button>
      {isOpen && (
        <Drawer title="Use it" close={() => setOpen(false)}>
          <UseIt {...props} />
        </Drawer>
      )}
    </>
  );
}

/** Files of a model, its exports, the Hugging Face Hub, and code that uses it. */
export function UseIt({ model, files }: Props) {
  const may = useMay();
  const [error, setError] = useState<Error | null>(null);
  const kind = model.graft?.kind ?? 'adapter';
  const catalog = useLoaded(['catalog'], api.catalog);
  const snippets = catalog.value ? snippetsOfModel(model, catalog.value, location.origin) : [];
  return (
    <>
      <Failure error={error} />
      {may('files:read') && <Files model={model} files={files} onError={setError} />}
      {/* Exports cannot be exported again. */}
      {kind === 'adapter' && <Exports model={model} onError={setError} />}
      {snippets.length > 0 && (
        <Section title={kind === 'export' ? 'Run it' : 'Code'}>
          <CodeBlock tabs={snippets} label="Code that uses the model" />
        </Section>
      )}
      {kind !== 'base' && may('files:read') && (
        <Section title="Hugging Face Hub">
          <PushToHub model={model.id} />
        </Section>
      )}
    </>
  );
}

interface FilesProps extends Props {
  readonly onError: (error: Error) => void;
}

/** Downloads of a model: all files as one archive, or one by one. */
function Files({ model, files, onError }: FilesProps) {
  const loaded = useLoaded(['files-of', ...files], () =>
    Promise.all(files.map((file) => api.file(file))),
  );
  const isAdapter = model.graft?.kind === 'adapter';
  return (
    <Section title={isAdapter ? 'Adapter (PEFT)' : 'Files'}>
      <Failure error={loaded.error} />
      <div className="bar files">
        <Button icon={<Download />} onClick={() => archive(model.id).catch(onError)}>
          Download .zip
        </Button>
        {(loaded.value ?? []).map((file) => (
          <Button
            key={file.id}
            variant="ghost"
            onClick={() => download(file.id, file.filename).catch(onError)}
          >
            {file.filename} <span className="faint">{bytes(file.bytes)}</span>
          </Button>
        ))}
      </div>
    </Section>
  );
}

/** Exports of a model, and the form that makes more. Offers only what its task and method support. */
function Exports({ model, onError }: Omit<FilesProps, 'files'>) {
  const may = useMay();
  const made = useOperations(model.id);
  const able: readonly string[] = model.graft?.operations ?? [];
  const ways = WAYS.filter(([, one]) => able.includes(one ? nameOfOperation(one) : 'combine'));
  if (ways.length === 0 && !made.value?.length) return null;
  return (
    <Section title="Export">
      {ways.length > 0 && may('jobs:write') && (
        <MakeFiles model={model} ways={ways} started={made.reload} onError={onError} />
      )}
      <Failure error={made.error} />
      <ModelExports jobs={made.value ?? []} onError={onError} />
    </Section>
  );
}

interface MakeFilesProps {
  readonly model: ModelObject;
  readonly ways: typeof WAYS;
  readonly started: () => void;
  readonly onError: (error: Error) => void;
}

function MakeFiles({ model, ways, started, onError }: MakeFilesProps) {
  const [chosen, setChosen] = useState(0);
  const [busy, setBusy] = useState(false);
  const way = ways[chosen]?.[1];
  const make = (event: FormEvent): void => {
    event.preventDefault();
    setBusy(true);
    api
      .operate({ ...way, model: model.id })
      .then(started, onError)
      .finally(() => setBusy(false));
  };
  return (
    <>
      <form className="bar" onSubmit={make}>
        <label>
          Export as{' '}
          <select value={chosen} onChange={(event) => setChosen(Number(event.target.value))}>
            {ways.map(([title], i) => (
              <option key={title} value={i}>
                {title}
              </option>
            ))}
          </select>
        </label>
        {way && (
          <Button type="submit" busy={busy}>
            Export
          </Button>
        )}
      </form>
      {way === null && <CombineAdapters model={model} />}
    </>
  );
}
