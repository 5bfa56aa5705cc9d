import { useState } from 'react';
import { api } from '../../api/api.js';
import { Button } from '../../ui/controls/button.js';
import { Field } from '../../ui/controls/field.js';
import { submits } from '../submits.js';
import { Sides } from '../sides.js';
import { useAnswers } from '../use-answers.js';
import { answerInContext, type RawAnswer } from './label-answer.js';

interface Question {
  readonly question: string;
  readonly context: string;
}

/** Finds the part of a text that answers a question. */
export function QuestionBox({ models }: { models: readonly string[] }) {
  const [question, setQuestion] = useState('');
  const [context, setContext] = useState('');
  const asked = useAnswers(models, async (model, input: Question, signal) => {
    const [answer] = await api.classify(model, [input], signal);
    return answer ?? {};
  });
  const isReady = question.trim() !== '' && context.trim() !== '';
  const submit = () => isReady && asked.submit({ question, context });
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
        <Field id="context" label="Text" help="The answer is a part of it">
          <textarea
            id="context"
            rows={6}
            value={context}
            placeholder="Ada Lovelace, born in London in 1815, wrote the first computer program."
            onChange={(event) => setContext(event.target.value)}
          />
        </Field>
        <Field id="question" label="Question">
          <input
            id="question"
            autoFocus
            value={question}
            placeholder="When was Ada Lovelace born?"
            onChange={(event) => setQuestion(event.target.value)}
            onKeyDown={(event) => submits(event) && (event.preventDefault(), submit())}
          />
        </Field>
        <Button type="submit" variant="primary" busy={asked.busy} disabled={!isReady}>
          Find the answer
        </Button>
      </form>
      {input !== null && (
        <Sides
          models={models}
          answers={asked.answers}
          height={120}
          again={() => asked.submit(input)}
          show={(answer) => <FoundAnswer answer={answer} context={input.context} />}
        />
      )}
    </>
  );
}

/** The answer as a headline, and highlighted in its text. */
export function FoundAnswer({ answer, context }: { answer: RawAnswer; context: string }) {
  const { answer: text, score, start, end } = answer;
  if (typeof text !== 'string' || text === '')
    return <p className="headline">The text does not contain an answer.</p>;
  const [before, found, after] = answerInContext(context, Number(start), Number(end));
  return (
    <>
      <p className="headline">
        <b className="break">{text}</b>
        {typeof score === 'number' && (
          <span className="faint numbers" title="Sum of the scores of its first and its last token">
            score {score.toFixed(2)}
          </span>
        )}
      </p>
      <p className="context">
        {before}
        <mark>{found}</mark>
        {after}
      </p>
    </>
  );
}
