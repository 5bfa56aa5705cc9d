import { Plus, X } from 'lucide-react';
import { useState } from 'react';
import { api } from '../../api/api.js';
import { Button, IconButton } from '../../ui/controls/button.js';
import { Field } from '../../ui/controls/field.js';
import { Segmented } from '../../ui/controls/segmented.js';
import { Sides } from '../sides.js';
import { submits } from '../submits.js';
import { useAnswers } from '../use-answers.js';
import { BatchBox } from './batch-box.js';
import { LabelView } from './label-view.js';

/** A text, or a pair of texts. */
export type TextInput = string | { readonly text: string; readonly text_pair: string };

/** Labels a text, a pair of texts, or many texts. */
export function LabelBox({ models }: { models: readonly string[] }) {
  const [mode, setMode] = useState<'one' | 'many'>('one');
  return (
    <>
      <Segmented<'one' | 'many'>
        label="Number of texts"
        value={mode}
        change={setMode}
        choices={[
          ['one', 'One text'],
          ['many', 'Many texts'],
        ]}
      />
      {mode === 'one' ? <OneText models={models} /> : <BatchBox models={models} />}
    </>
  );
}

function OneText({ models }: { models: readonly string[] }) {
  const [text, setText] = useState('');
  /** Second text of a pair. Null if there is none. */
  const [pair, setPair] = useState<string | null>(null);
  const asked = useAnswers(models, async (model, input: TextInput, signal) => {
    const [answer] = await api.classify(model, [input], signal);
    return answer ?? {};
  });
  const isReady = text.trim() !== '' && pair?.trim() !== '';
  const submit = () => isReady && asked.submit(pair === null ? text : { text, text_pair: pair });
  const { input } = asked;
  return (
    <>
      <form
        className="box-form"
        onSubmit={(event) => {
          event.preventDefault();
          submit();
        }}
      >
        <Field id="text" label="Text" help="Enter classifies it, Shift+Enter starts a new line">
          <textarea
            id="text"
            rows={3}
            autoFocus
            value={text}
            placeholder="I would buy it again"
            onChange={(event) => setText(event.target.value)}
            onKeyDown={(event) => submits(event) && (event.preventDefault(), submit())}
          />
        </Field>
        {pair !== null && (
          <Field id="pair" label="Second text">
            <textarea
              id="pair"
              rows={3}
              autoFocus
              value={pair}
              onChange={(event) => setPair(event.target.value)}
              onKeyDown={(event) => submits(event) && (event.preventDefault(), submit())}
            />
          </Field>
        )}
        <div className="bar">
          <Button type="submit" variant="primary" busy={asked.busy} disabled={!isReady}>
            Classify
          </Button>
          {pair === null ? (
            <Button variant="ghost" icon={<Plus />} onClick={() => setPair('')}>
              Second text
            </Button>
          ) : (
            <IconButton label="Remove second text" icon={<X />} onClick={() => setPair(null)} />
          )}
        </div>
      </form>
      {input !== null && (
        <Sides
          models={models}
          answers={asked.answers}
          height={140}
          again={() => asked.submit(input)}
          show={(answer) => <LabelView answer={answer} />}
        />
      )}
    </>
  );
}
