import { useState } from 'react';
import { api } from '../../api/api.js';
import { Button } from '../../ui/controls/button.js';
import { Field } from '../../ui/controls/field.js';
import { Segmented } from '../../ui/controls/segmented.js';
import { Bar } from '../shares.js';
import { Sides } from '../sides.js';
import { useAnswers } from '../use-answers.js';
import { neighbours, type Vector } from './geometry.js';
import { SimilarityMap } from './similarity-map.js';
import { SimilarityMatrix } from './similarity-matrix.js';
import './embeddings.css';

type View = 'neighbours' | 'map' | 'matrix';

const VIEWS = [
  ['neighbours', 'Neighbors'],
  ['map', 'Map'],
  ['matrix', 'Matrix'],
] as const;

/** More texts would not be legible on the map. */
const MOST = 200;

/** Compares texts by their embeddings: nearest neighbors, a map and a matrix of similarities. */
export function EmbedBox({ models }: { models: readonly string[] }) {
  const [text, setText] = useState('');
  const [view, setView] = useState<View>('neighbours');
  const [chosen, setChosen] = useState(0);
  const asked = useAnswers(models, (model, inputs: readonly string[], signal) =>
    api.embed(model, inputs, signal),
  );
  const lines = text.split('\n').filter((line) => line.trim() !== '');
  const { input } = asked;
  return (
    <>
      <form
        className="box-form"
        onSubmit={(event) => {
          event.preventDefault();
          setChosen(0);
          asked.submit(lines.slice(0, MOST));
        }}
      >
        <Field
          id="texts"
          label="Texts"
          help={
            lines.length > MOST ? `One per line. Only the first ${MOST} are used.` : 'One per line'
          }
        >
          <textarea
            id="texts"
            rows={6}
            autoFocus
            value={text}
            placeholder={'how do I reset my password\nI cannot sign in\nwhat do you charge'}
            onChange={(event) => setText(event.target.value)}
          />
        </Field>
        <div className="bar">
          {asked.busy ? (
            <Button onClick={asked.stop}>Stop</Button>
          ) : (
            <Button type="submit" variant="primary" disabled={lines.length < 2}>
              Compare texts
            </Button>
          )}
          {lines.length === 1 && <span className="faint">Enter at least two texts.</span>}
        </div>
      </form>
      {input !== null && (
        <>
          <Segmented<View> label="View" value={view} change={setView} choices={VIEWS} />
          <div className="embed-answers">
            <Sides
              models={models}
              answers={asked.answers}
              height={320}
              again={() => asked.submit(input)}
              show={(vectors) => (
                <Comparison
                  view={view}
                  texts={input}
                  vectors={vectors}
                  chosen={chosen}
                  choose={setChosen}
                />
              )}
            />
          </div>
        </>
      )}
    </>
  );
}

export interface ComparisonProps {
  readonly texts: readonly string[];
  readonly vectors: readonly Vector[];
  /** Text that the others are compared with. */
  readonly chosen: number;
  readonly choose: (text: number) => void;
}

function Comparison({ view, ...props }: ComparisonProps & { view: View }) {
  if (view === 'map') return <SimilarityMap {...props} />;
  if (view === 'matrix') return <SimilarityMatrix {...props} />;
  return <Neighbours {...props} />;
}

/** The other texts, the most similar to the chosen one first. */
function Neighbours({ texts, vectors, chosen, choose }: ComparisonProps) {
  return (
    <>
      <p className="headline">
        <span className="faint">Nearest to</span> <b className="break">{texts[chosen]}</b>
      </p>
      <ol className="neighbours" aria-label="Neighbors">
        {neighbours(vectors, chosen).map(({ index, similarity }) => (
          <li key={index}>
            <button type="button" className="text break" onClick={() => choose(index)}>
              {texts[index]}
            </button>
            <Bar share={similarity} />
            <span className="numbers">{similarity.toFixed(3)}</span>
          </li>
        ))}
      </ol>
      <p className="faint">Cosine similarity. Choose a text to compare with it.</p>
    </>
  );
}
