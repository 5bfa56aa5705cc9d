import type { FileRecordObject } from '@graft/contracts';
import { useState, type ReactNode } from 'react';
import { count } from '../wording.js';

type Fields = Readonly<Record<string, unknown>>;

const LONG = 1200;

/** One training example as people read it: a chat, a prompt and its completion, or a text. What is learnt is tinted. */
export function TrainingRecord({ item }: { item: FileRecordObject }) {
  return (
    <li className={`example${item.problem ? ' wrong' : ''}`} id={`line-${item.line}`}>
      <div className="line">
        <span className="faint">line</span> {count(item.line)}
      </div>
      <div className="turns">
        {item.record === null ? (
          <>
            <p className="bad">{item.problem}</p>
            {item.text !== null && <pre className="pre">{item.text}</pre>}
          </>
        ) : (
          parts(item.record)
        )}
      </div>
    </li>
  );
}

function parts(record: Fields): ReactNode {
  if (Array.isArray(record['messages'])) {
    const tools = Array.isArray(record['tools']) ? record['tools'].length : 0;
    return (
      <>
        {tools > 0 && (
          <p className="faint">
            {tools} {tools === 1 ? 'tool' : 'tools'} offered: {toolNames(record['tools'])}
          </p>
        )}
        {(record['messages'] as Fields[]).map((message, i) => (
          <Message key={i} message={message} />
        ))}
      </>
    );
  }
  if (record['prompt'] !== undefined)
    return (
      <>
        <Said who="prompt">{String(record['prompt'])}</Said>
        <Said who="completion" learnt>
          {String(record['completion'])}
        </Said>
      </>
    );
  return (
    <Said who="text" learnt>
      {String(record['text'])}
    </Said>
  );
}

function Message({ message }: { message: Fields }) {
  const { role, content, weight, tool_calls: calls, name } = message;
  const assistant = role === 'assistant';
  const who = `${String(role)}${name ? ` ${String(name)}` : ''}`;
  const text = textOf(content);
  return (
    <Said
      who={assistant && weight === 0 ? `${who} (not learnt)` : who}
      learnt={assistant && weight !== 0}
    >
      {[text, ...callsOf(calls)].filter(Boolean).join('\n')}
    </Said>
  );
}

function Said({ who, learnt, children }: { who: string; learnt?: boolean; children: string }) {
  const [all, setAll] = useState(false);
  const cut = !all && children.length > LONG + 200;
  return (
    <div className="said">
      <span className="who">{who}</span>
      <div className={`bubble${learnt ? ' learnt' : ''}`}>
        <div className="pre">
          {children === '' && <span className="faint">empty</span>}
          {cut ? `${children.slice(0, LONG)}…` : children}
        </div>
        {cut && (
          <button className="small" onClick={() => setAll(true)}>
            Show all {count(children.length)} characters
          </button>
        )}
      </div>
    </div>
  );
}

function textOf(content: unknown): string {
  if (typeof content === 'string') return content;
  if (!Array.isArray(content)) return '';
  return (content as { text?: string }[]).map(({ text }) => text ?? '').join('');
}

interface Call {
  readonly function?: { readonly name?: string; readonly arguments?: unknown };
}

function callsOf(calls: unknown): string[] {
  if (!Array.isArray(calls)) return [];
  return (calls as Call[]).map(({ function: called }) => {
    const given = called?.arguments;
    return `→ ${called?.name}(${typeof given === 'string' ? given : JSON.stringify(given)})`;
  });
}

const toolNames = (tools: unknown): string =>
  (tools as Call[]).map((tool) => tool.function?.name ?? 'unnamed').join(', ');
