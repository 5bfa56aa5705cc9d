import { useState } from 'react';
import { api } from '../../api/api.js';
import { Button } from '../../ui/controls/button.js';
import { Field } from '../../ui/controls/field.js';
import { Sides } from '../sides.js';
import { percent } from '../shares.js';
import { useAnswers } from '../use-answers.js';
import { spansOf, type RawAnswer, type TaggedSpan } from './label-answer.js';
import { submits } from '../submits.js';

const COLORS = 10;

/** Tags the words of a text, such as names of people and places. */
export function TagBox({ models }: { models: readonly string[] }) {
  const [text, setText] = useState('');
  const asked = useAnswers(models, async (model, input: string, signal) => {
    const [answer] = await api.classify(model, [input], signal);
    return answer ?? {};
  });
  const submit = () => text.trim() !== '' && asked.submit(text);
  return (
    <>
      <form
        className="box-form"
        onSubmit={(event) => {
          event.preventDefault();
          submit();
        }}
      >
        <Field id="text" label="Text" help="Enter tags it, Shift+Enter starts a new line">
          <textarea
            id="text"
            rows={3}
            autoFocus
            value={text}
            placeholder="Ada Lovelace lived in London."
            onChange={(event) => setText(event.target.value)}
            onKeyDown={(event) => submits(event) && (event.preventDefault(), submit())}
          />
        </Field>
        <Button type="submit" variant="primary" busy={asked.busy} disabled={text.trim() === ''}>
          Tag words
        </Button>
      </form>
      {asked.input !== null && (
        <Sides
          models={models}
          answers={asked.answers}
          height={72}
          again={() => asked.submit(asked.input ?? '')}
          show={(answer) => <TaggedText answer={answer} />}
        />
      )}
    </>
  );
}

/** A text with its tagged words highlighted, and a legend of the tags. */
export function TaggedText({ answer }: { answer: RawAnswer }) {
  const spans = spansOf(answer);
  const types = [...new Set(spans.flatMap(({ type }) => (type === null ? [] : [type])))].sort();
  const color = (type: string) => `var(--series-${(types.indexOf(type) % COLORS) + 1})`;
  return (
    <>
      <p className="tagged-text">
        {spans.map((span, n) => (
          <Span key={n} span={span} color={span.type === null ? null : color(span.type)} />
        ))}
      </p>
      {types.length > 0 ? (
        <ul className="tag-legend" aria-label="Tags">
          {types.map((type) => (
            <li key={type}>
              <span style={{ background: color(type) }} aria-hidden="true" />
              {type}
              <span className="faint numbers">
                {spans.filter((span) => span.type === type).length}
              </span>
            </li>
          ))}
        </ul>
      ) : (
        <p className="faint">No word has a tag.</p>
      )}
    </>
  );
}

function Span({ span: { text, type, share }, color }: { span: TaggedSpan; color: string | null }) {
  if (type === null || color === null) return <>{text} </>;
  return (
    <>
      <mark
        className="tag"
        style={{ borderColor: color, background: `color-mix(in srgb, ${color} 16%, transparent)` }}
        title={share === null ? type : `${type}, ${percent(share)}`}
      >
        {text}
        <small>{type}</small>
      </mark>{' '}
    </>
  );
}
