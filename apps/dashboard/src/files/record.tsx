import type { FileRecordObject } from '@graft/contracts';
import { Fragment, useState, type ReactNode } from 'react';
import { count } from '../format.js';
import { mediaUrl, type MediaUrl } from '../media/media-url.js';
import { useRecordFormats } from './record-formats.js';
import { Media } from '../media/media.js';

type Fields = Readonly<Record<string, unknown>>;

const LONG = 1200;

interface RecordProps {
  readonly item: FileRecordObject;
  /** Controls below its line number. */
  readonly actions?: ReactNode;
}

/** One training example in readable form. Parts that are trained on are highlighted. */
export function TrainingRecord({ item, actions }: RecordProps) {
  const targets = new Set(useRecordFormats().flatMap((format) => format.learnt));
  return (
    <li className={`example${item.problem ? ' wrong' : ''}`} id={`line-${item.line}`}>
      <div className="line">
        <span className="faint">line</span> {count(item.line)}
        {actions}
      </div>
      <div className="turns">
        {item.record === null ? (
          <>
            <p className="bad">{item.problem}</p>
            {item.text !== null && <pre className="pre">{item.text}</pre>}
          </>
        ) : (
          parts(item.record, targets)
        )}
      </div>
    </li>
  );
}

/** Renders a record of any format: lists of messages, objects that contain one, and texts. */
function parts(record: Fields, targets: ReadonlySet<string>): ReactNode {
  const fields = Object.entries(record);
  return fields.map(([key, value]) => {
    const isTarget = targets.has(key);
    if (key === 'tools' && Array.isArray(value)) return <Tools key={key} tools={value} />;
    if (isMessages(value)) {
      const shared = key === 'chosen' ? sharedTurns(record) : 0;
      return (
        <Fragment key={key}>
          {key !== 'messages' && <p className="faint">{key}</p>}
          {value.map((message, i) => (
            <Message key={i} message={message} isTarget={isTarget && i >= shared} />
          ))}
        </Fragment>
      );
    }
    const media = mediaUrl(value);
    if (media) return <Media key={key} media={media} what={key} />;
    if (typeof value === 'string')
      return (
        <Turn key={key} who={key} isTarget={isTarget}>
          {value}
        </Turn>
      );
    const inner = typeof value === 'object' && value !== null && !Array.isArray(value);
    return inner && <Fragment key={key}>{parts(value as Fields, NOTHING)}</Fragment>;
  });
}

const NOTHING: ReadonlySet<string> = new Set();

/**
 * Returns the number of turns that both answers share. They are the prompt of a preference record
 * without its own.
 */
function sharedTurns({ prompt, chosen, rejected }: Fields): number {
  if (prompt !== undefined || !isMessages(chosen) || !isMessages(rejected)) return 0;
  const different = chosen.findIndex(
    (message, i) => JSON.stringify(message) !== JSON.stringify(rejected[i]),
  );
  return different < 0 ? chosen.length : different;
}

const isMessages = (value: unknown): value is Fields[] =>
  Array.isArray(value) &&
  value.every((one) => typeof one === 'object' && one !== null && 'role' in one);

function Tools({ tools }: { tools: readonly unknown[] }) {
  if (tools.length === 0) return null;
  return (
    <p className="faint">
      {tools.length} {tools.length === 1 ? 'tool' : 'tools'} offered: {toolNames(tools)}
    </p>
  );
}

function Message({ message, isTarget }: { message: Fields; isTarget: boolean }) {
  const { role, content, weight, tool_calls: calls, name } = message;
  const assistant = role === 'assistant';
  const who = `${String(role)}${name ? ` ${String(name)}` : ''}`;
  const text = textOf(content);
  return (
    <Turn
      who={assistant && weight === 0 ? `${who} (not trained on)` : who}
      isTarget={isTarget && assistant && weight !== 0}
      media={mediaOf(content)}
    >
      {[text, ...callsOf(calls)].filter(Boolean).join('\n')}
    </Turn>
  );
}

interface TurnProps {
  readonly who: string;
  readonly isTarget?: boolean;
  /** Images and audio next to the text. */
  readonly media?: readonly MediaUrl[];
  readonly children: string;
}

function Turn({ who, isTarget, media = [], children }: TurnProps) {
  const [all, setAll] = useState(false);
  const cut = !all && children.length > LONG + 200;
  return (
    <div className="record-turn">
      <span className="who">{who}</span>
      <div className={`bubble${isTarget ? ' target' : ''}`}>
        {media.map((one, i) => (
          <Media key={i} media={one} what={who} />
        ))}
        <div className="pre">
          {children === '' && media.length === 0 && <span className="faint">empty</span>}
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

/** Returns OpenAI's content parts that are not text. */
const mediaOf = (content: unknown): MediaUrl[] =>
  Array.isArray(content)
    ? (content as { image_url?: { url?: unknown } }[]).flatMap(
        ({ image_url: image }) => mediaUrl(image?.url) ?? [],
      )
    : [];

interface Call {
  readonly function?: { readonly name?: string; readonly arguments?: unknown };
}

function callsOf(calls: unknown): string[] {
  if (!Array.isArray(calls)) return [];
  return (calls as Call[]).map(({ function: called }) => {
    const args = called?.arguments;
    return `→ ${called?.name}(${typeof args === 'string' ? args : JSON.stringify(args)})`;
  });
}

const toolNames = (tools: unknown): string =>
  (tools as Call[]).map((tool) => tool.function?.name ?? 'unnamed').join(', ');
