import type { ReactNode } from 'react';
import { ApiError } from '../api/request.js';
import { modelTitle } from '../format.js';
import { Callout } from '../ui/feedback/callout.js';
import { Button, ButtonLink } from '../ui/controls/button.js';
import { Skeleton } from '../ui/feedback/skeleton.js';
import type { ModelAnswer } from './use-answers.js';
import './boxes.css';

interface SidesProps<T> {
  readonly models: readonly string[];
  readonly answers: readonly ModelAnswer<T>[];
  /** Height in pixels of an answer, for its placeholder. */
  readonly height: number;
  /** Sends the input again. */
  readonly again: () => void;
  readonly show: (answer: T, side: number) => ReactNode;
}

/** Answers of the models, side by side. */
export function Sides<T>({ models, answers, height, again, show }: SidesProps<T>) {
  return (
    <div className="sides" role="status" aria-label="Answers">
      {models.map((model, n) => {
        const answer = answers[n] ?? null;
        return (
          <section key={model} className="card side-answer" aria-label={modelTitle(model)}>
            {models.length > 1 && <h2 className="answer-of">{modelTitle(model)}</h2>}
            {answer === null ? (
              <Skeleton height={height} />
            ) : answer instanceof Error ? (
              <RequestProblem error={answer} again={again} />
            ) : (
              show(answer, n)
            )}
          </section>
        );
      })}
    </div>
  );
}

/** Reason why a request failed, with what to do about it. */
export function RequestProblem({ error, again }: { error: Error; again: () => void }) {
  const code = error instanceof ApiError ? error.code : null;
  return (
    <Callout
      tone="error"
      action={
        <>
          {code === 'no_worker' && (
            <ButtonLink size="s" to="/cluster">
              Open cluster
            </ButtonLink>
          )}
          <Button size="s" onClick={again}>
            Try again
          </Button>
        </>
      }
    >
      {error.message}
    </Callout>
  );
}
