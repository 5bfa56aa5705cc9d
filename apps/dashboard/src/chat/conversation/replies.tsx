import { RotateCcw } from 'lucide-react';
import { lazy, Suspense } from 'react';
import { Button, ButtonLink, IconButton } from '../../ui/controls/button.js';
import { Copy } from '../copy-icon.js';
import { Callout } from '../../ui/feedback/callout.js';
import type { Answer, Figures, Problem, Reply } from './exchange.js';
import { Tokens } from './tokens.js';
import { ToolCalls } from './tool-calls.js';

/** Loaded with the first answer, because no other page needs it. */
const Markdown = lazy(async () => ({ default: (await import('./markdown.js')).Markdown }));

interface RepliesProps {
  readonly replies: readonly Reply[];
  /** Whether the model is answering now. */
  readonly busy: boolean;
  readonly markdown: boolean;
  /** Requests the last answer again. Null if it is not the last. */
  readonly again: (() => void) | null;
  readonly answerCalls: ((results: readonly string[]) => void) | null;
  readonly clear: () => void;
}

/** Replies of one model to one message: its answers, and the results of its calls. */
export function Replies({ replies, busy, markdown, again, answerCalls, clear }: RepliesProps) {
  return replies.map((reply, n) => {
    const isLast = n === replies.length - 1;
    if (reply.role === 'tool')
      return (
        <p key={n} className="tool-result">
          <span className="faint">Result</span> <code>{reply.content || 'none'}</code>
        </p>
      );
    return (
      <AnswerView
        key={n}
        answer={reply}
        waiting={busy && isLast && !reply.problem}
        markdown={markdown}
        again={isLast && !busy ? again : null}
        answerCalls={isLast && !busy ? answerCalls : null}
        clear={clear}
      />
    );
  });
}

interface AnswerProps extends Pick<RepliesProps, 'markdown' | 'again' | 'answerCalls' | 'clear'> {
  readonly answer: Answer;
  readonly waiting: boolean;
}

function AnswerView({ answer, waiting, markdown, again, answerCalls, clear }: AnswerProps) {
  const { content, calls, tokens, problem, figures } = answer;
  return (
    <div className="answer-text">
      {waiting && content === '' && !calls && (
        <p className="thinking" role="status" aria-label="Waiting for the first token">
          <span /> <span /> <span />
        </p>
      )}
      {tokens ? <Tokens tokens={tokens} /> : <Content text={content} markdown={markdown} />}
      {!waiting && content === '' && !calls && !problem && (
        <p className="plain faint">(empty response)</p>
      )}
      {calls && <ToolCalls calls={calls} answer={answerCalls} />}
      {problem && <ProblemCallout problem={problem} again={again} clear={clear} />}
      {!waiting && (
        <div className="answer-foot">
          {figures && <FiguresLine figures={figures} />}
          {content !== '' && <Copy text={content} label="Copy answer" />}
          {again && !problem && (
            <IconButton
              size="s"
              className="small"
              label="Regenerate"
              icon={<RotateCcw />}
              onClick={again}
            />
          )}
        </div>
      )}
    </div>
  );
}

function Content({ text, markdown }: { text: string; markdown: boolean }) {
  if (text === '') return null;
  if (!markdown) return <div className="plain">{text}</div>;
  return (
    <Suspense fallback={<div className="plain">{text}</div>}>
      <Markdown text={text} />
    </Suspense>
  );
}

const FiguresLine = ({ figures }: { figures: Figures }) => {
  const { tokens, promptTokens, tokensPerSecond, firstSeconds, isCut } = figures;
  return (
    <small className="numbers" title={`${promptTokens} tokens in the prompt`}>
      {tokens} tokens
      {tokensPerSecond !== null && ` · ${tokensPerSecond.toFixed(1)} tokens/s`}
      {` · first after ${firstSeconds.toFixed(2)} s`}
      {isCut && ' · cut off at the maximum length'}
    </small>
  );
};

interface ProblemProps {
  readonly problem: Problem;
  readonly again: (() => void) | null;
  readonly clear: () => void;
}

/** Reason why an answer is missing, with what to do about it. */
function ProblemCallout({
  problem: { message, code, again: canRetry },
  again,
  clear,
}: ProblemProps) {
  if (code === 'stopped')
    return (
      <p className="faint">
        Stopped.{' '}
        {again && (
          <button type="button" className="text" onClick={again}>
            Try again
          </button>
        )}
      </p>
    );
  const isLong = /\d+ tokens; the model supports/.test(message);
  return (
    <Callout
      tone={canRetry ? 'warn' : 'error'}
      isLive
      action={
        <>
          {code === 'no_worker' && (
            <ButtonLink size="s" to="/cluster">
              Open cluster
            </ButtonLink>
          )}
          {isLong && (
            <Button size="s" onClick={clear}>
              New chat
            </Button>
          )}
          {again && !isLong && (
            <Button size="s" onClick={again}>
              Try again
            </Button>
          )}
        </>
      }
    >
      {message}
    </Callout>
  );
}
