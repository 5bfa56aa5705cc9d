import { ArrowDown, Pencil } from 'lucide-react';
import { useEffect, useMemo, useRef, useState, type ReactNode } from 'react';
import { modelTitle } from '../../format.js';
import { Button, IconButton } from '../../ui/controls/button.js';
import { submits } from '../submits.js';
import { Composer, useGrowing } from './composer.js';
import { chatBody, settingsProblem, type ChatSettings } from './chat-settings.js';
import { historyOf, type Exchange } from './exchange.js';
import { Replies } from './replies.js';
import { useConversation, type Conversation as State } from './use-conversation.js';
import './conversation.css';

interface ConversationProps {
  readonly models: readonly string[];
  readonly settings: ChatSettings;
  /** Settings next to the conversation, if they are open. */
  readonly panel: ReactNode;
  /** Opens the settings. */
  readonly openSettings: () => void;
  /** Called with the body of the next request, for the generated code. Null if it cannot be sent. */
  readonly next: (body: Readonly<Record<string, unknown>> | null) => void;
}

/** A chat that sends the same messages to all models and shows their answers side by side. */
export function Conversation(props: ConversationProps) {
  const { models, settings, panel, openSettings, next } = props;
  const chat = useConversation(models, settings);
  const [draft, setDraft] = useState('');
  const wrong = useMemo(() => settingsProblem(settings), [settings]);
  const busy = chat.busy.length > 0;
  const { exchanges } = chat;
  useEffect(() => {
    const started = [...exchanges, { user: draft || 'Hello', sides: [] }];
    next(wrong ? null : chatBody(models[0] ?? '', historyOf(started, 0), settings));
  }, [exchanges, draft, wrong, settings]);
  const scroll = useFollowing(exchanges);
  return (
    <div className={panel ? 'chat-frame with-panel' : 'chat-frame'}>
      <div className="chat-main">
        <div className="chat-scroll" ref={scroll.box} onScroll={scroll.look} tabIndex={0}>
          {/* Announced when complete, not word by word. */}
          <div role="log" aria-label="Conversation" aria-busy={busy} className="chat-log">
            {exchanges.length === 0 ? (
              <Start models={models} send={chat.send} />
            ) : (
              exchanges.map((exchange, n) => (
                <ExchangeView
                  key={n}
                  exchange={exchange}
                  n={n}
                  chat={chat}
                  models={models}
                  markdown={settings.markdown}
                />
              ))
            )}
          </div>
        </div>
        {!scroll.atEnd && (
          <Button size="s" className="to-end" icon={<ArrowDown />} onClick={scroll.toEnd}>
            Latest
          </Button>
        )}
        <div className="chat-foot">
          {wrong && (
            <p className="bad">
              A setting is not valid: {wrong.message}.{' '}
              <button type="button" className="text" onClick={openSettings}>
                Open settings
              </button>
            </p>
          )}
          <Composer
            placeholder={models.length > 1 ? 'Send a message to both models' : 'Send a message'}
            busy={busy}
            blocked={wrong && 'A setting is not valid'}
            send={chat.send}
            stop={chat.stop}
            typed={setDraft}
          />
          <div className="chat-hint">
            <small>Enter sends, Shift+Enter starts a new line.</small>
            <span className="grow" />
            {exchanges.length > 0 && (
              <Button size="s" variant="ghost" onClick={chat.clear}>
                New chat
              </Button>
            )}
          </div>
        </div>
      </div>
      {panel}
    </div>
  );
}

/** Distance in pixels from the end that still counts as the end. */
const NEAR = 48;

/** Keeps a scrolling box at its end while content arrives, unless the user scrolls up. */
function useFollowing(content: unknown) {
  const box = useRef<HTMLDivElement>(null);
  const [atEnd, setAtEnd] = useState(true);
  const toEnd = () => {
    if (box.current) box.current.scrollTop = box.current.scrollHeight;
  };
  useEffect(() => {
    if (atEnd) toEnd();
  }, [content, atEnd]);
  const look = () => {
    const { scrollHeight = 0, clientHeight = 0, scrollTop = 0 } = box.current ?? {};
    setAtEnd(scrollHeight - clientHeight - scrollTop < NEAR);
  };
  return { box, atEnd, look, toEnd };
}

const IDEAS = [
  'Introduce yourself in one sentence.',
  'Explain what you are good at, as a list.',
  'Write a short e-mail that moves a meeting to Friday.',
];

function Start({ models, send }: { models: readonly string[]; send: (text: string) => void }) {
  return (
    <div className="chat-start">
      <h2>
        {models.length > 1
          ? 'One message, two answers side by side'
          : `Ask ${modelTitle(models[0] ?? '')} something`}
      </h2>
      <div className="ideas">
        {IDEAS.map((idea) => (
          <Button key={idea} onClick={() => send(idea)}>
            {idea}
          </Button>
        ))}
      </div>
    </div>
  );
}

interface ExchangeProps {
  readonly exchange: Exchange;
  readonly n: number;
  readonly chat: State;
  readonly models: readonly string[];
  readonly markdown: boolean;
}

function ExchangeView({ exchange, n, chat, models, markdown }: ExchangeProps) {
  const isLast = n === chat.exchanges.length - 1;
  return (
    <div className="exchange">
      <UserMessage
        text={exchange.user}
        edit={chat.busy.length > 0 ? null : (text) => chat.edit(n, text)}
      />
      <div className={models.length > 1 ? 'chat-sides two' : 'chat-sides'}>
        {models.map((model, side) => (
          <article key={model} aria-label={`Answer of ${modelTitle(model)}`}>
            {models.length > 1 && <p className="answer-of">{modelTitle(model)}</p>}
            <Replies
              replies={exchange.sides[side] ?? []}
              busy={isLast && chat.busy.includes(side)}
              markdown={markdown}
              again={isLast ? () => chat.again(side) : null}
              answerCalls={isLast ? (results) => chat.answerCalls(side, results) : null}
              clear={chat.clear}
            />
          </article>
        ))}
      </div>
    </div>
  );
}

function UserMessage({ text, edit }: { text: string; edit: ((text: string) => void) | null }) {
  const [draft, setDraft] = useState<string | null>(null);
  const field = useGrowing(draft ?? '');
  if (draft === null)
    return (
      <div className="user-message">
        {edit && (
          <IconButton
            size="s"
            className="small"
            label="Edit message"
            icon={<Pencil />}
            onClick={() => setDraft(text)}
          />
        )}
        <div className="user-text">{text}</div>
      </div>
    );
  const save = () => {
    if (draft.trim() === '') return;
    setDraft(null);
    edit?.(draft);
  };
  return (
    <div className="user-message editing">
      <textarea
        ref={field}
        rows={1}
        aria-label="Edited message"
        autoFocus
        value={draft}
        onChange={(event) => setDraft(event.target.value)}
        onKeyDown={(event) => {
          if (event.key === 'Escape') setDraft(null);
          if (!submits(event)) return;
          event.preventDefault();
          save();
        }}
      />
      <div className="bar">
        <span className="grow" />
        <Button size="s" variant="ghost" onClick={() => setDraft(null)}>
          Cancel
        </Button>
        <Button size="s" onClick={save}>
          Send again
        </Button>
      </div>
    </div>
  );
}
