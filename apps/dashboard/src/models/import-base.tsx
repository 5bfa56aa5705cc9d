import { useState, type FormEvent } from 'react';
import { api } from '../api/api.js';
import { ApiError } from '../api/request.js';
import { Button } from '../ui/controls/button.js';
import { Field, fieldTexts } from '../ui/controls/field.js';
import { Failure } from '../ui/feedback/failure.js';
import { Drawer } from '../ui/overlays/drawer.js';

/** Small bases that are good first choices. */
const SUGGESTED = [
  ['HuggingFaceTB/SmolLM2-135M-Instruct', 'Text, 135 M parameters: trains on any machine'],
  ['HuggingFaceTB/SmolLM2-1.7B-Instruct', 'Text, 1.7 B parameters'],
  ['meta-llama/Llama-3.2-1B-Instruct', 'Text, 1.2 B parameters; needs access on the Hub'],
  ['google/vit-base-patch16-224', 'Images, 86 M parameters'],
  ['openai/whisper-tiny', 'Speech, 39 M parameters'],
] as const;

interface Props {
  readonly close: () => void;
  readonly imported: () => void;
}

/** Form that imports a base model, with a few suggestions. */
export function ImportBase({ close, imported }: Props) {
  const [source, setSource] = useState('');
  const [error, setError] = useState<Error | null>(null);
  const [isBusy, setBusy] = useState(false);
  const send = (event: FormEvent) => {
    event.preventDefault();
    setError(null);
    setBusy(true);
    api
      .importModel(source.trim())
      .then(() => {
        imported();
        close();
      }, setError)
      .finally(() => setBusy(false));
  };
  const isOfField = error instanceof ApiError && error.param === 'source';
  const problem = isOfField ? error.message : null;
  const help = 'A Hugging Face repository or its address, or a path on the server';
  return (
    <Drawer title="Import a base model" close={close}>
      <form className="import-base" onSubmit={send}>
        <Field id="source" label="Source" help={help} problem={problem} info={{ path: 'source' }}>
          <input
            id="source"
            required
            autoComplete="off"
            spellCheck={false}
            placeholder="HuggingFaceTB/SmolLM2-135M-Instruct"
            value={source}
            aria-invalid={problem !== null}
            aria-describedby={fieldTexts('source', { help, problem })}
            onChange={(event) => setSource(event.target.value)}
          />
        </Field>
        {!isOfField && <Failure error={error} />}
        <Button type="submit" variant="primary" busy={isBusy}>
          Import
        </Button>
      </form>
      <h3>Good first choices</h3>
      <ul className="suggestions">
        {SUGGESTED.map(([name, text]) => (
          <li key={name}>
            <button type="button" className="quiet suggestion" onClick={() => setSource(name)}>
              <b>{name}</b>
              <small>{text}</small>
            </button>
          </li>
        ))}
      </ul>
      <p className="faint">
        A folder with config.json, tokenizer.json and safetensors files works as well, and so does a
        GGUF file. Large models take minutes; progress is shown in the list.
      </p>
    </Drawer>
  );
}
