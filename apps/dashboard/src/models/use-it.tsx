import type { CreateOperation, ModelObject } from '@graft/contracts';
import { nameOfOperation } from '@graft/contracts/adapter-operation-names';
import { snippetsOfModel } from '@graft/contracts/model-snippets';
import { useNavigate } from '@tanstack/react-router';
import { useState, type FormEvent } from 'react';
import { api } from '../api/api.js';
import { useLoaded } from '../api/loaded.js';
import { useMay } from '../api/own-key.js';
import { CombineAdapters } from './combine-adapters.js';
import { CopyButton } from '../ui/controls/copy-button.js';
import { PushToHub } from './push-to-hub.js';
import { Fold } from '../ui/fold.js';

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
  readonly onError: (error: Error) => void;
}

/** Instructions for using a result in other programs, and forms that export it. */
export function UseIt({ model, onError }: Props) {
  const may = useMay();
  const kind = model.graft?.kind ?? 'adapter';
  const catalog = useLoaded(['catalog'], api.catalog);
  const snippets = catalog.value ? snippetsOfModel(model, catalog.value, location.origin) : [];
  return (
    // Exports cannot be exported again.
    <Fold title="Use it elsewhere" reason={kind === 'export'}>
      {kind === 'adapter' && may('jobs:write') && <MakeFiles model={model} onError={onError} />}
      {kind !== 'base' && may('files:read') && <PushToHub model={model.id} />}
      {snippets.map(({ title, code }) => (
        <section key={title} aria-label={title}>
          <div className="bar">
            <b>{title}</b>
            <span className="grow" />
            <CopyButton text={code} label={`Copy ${title}`} />
          </div>
          <pre tabIndex={0}>{code}</pre>
        </section>
      ))}
    </Fold>
  );
}

function MakeFiles({ model, onError }: Props) {
  const navigate = useNavigate();
  const [chosen, setChosen] = useState(0);
  const able: readonly string[] = model.graft?.operations ?? [];
  const ways = WAYS.filter(([, one]) => able.includes(one ? nameOfOperation(one) : 'combine'));
  const way = ways[chosen]?.[1];
  const make = (event: FormEvent): void => {
    event.preventDefault();
    api
      .operate({ ...way, model: model.id })
      .then(({ id }) => navigate({ to: '/jobs/$id', params: { id } }), onError);
  };
  if (ways.length === 0) return null;
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
        {way && <button>Export</button>}
      </form>
      {way === null && <CombineAdapters model={model} />}
    </>
  );
}
