import { CopyButton } from '../ui/controls/copy-button.js';
import { chatCode } from './chat-code.js';
import type { ChatSettings } from './chat-settings.js';
import { FieldProblem, described, isOf, type Refusal } from '../forms/field-problem.js';
import { Text } from '../forms/fields.js';
import { Fold } from '../ui/fold.js';

interface Props {
  readonly settings: ChatSettings;
  readonly change: (settings: ChatSettings) => void;
  readonly wrong: Refusal | null;
  /** Request body for the generated code. Null while the settings are invalid. */
  readonly body: Readonly<Record<string, unknown>> | null;
}

const SAMPLING = [
  ['temperature', 'Temperature', '0 always picks the most likely token'],
  ['top_p', 'Top-p', 'Sample only from the most likely tokens that add up to this probability'],
  ['max_tokens', 'Max tokens', 'Maximum length of an answer'],
  ['seed', 'Seed', 'The same seed gives the same answer'],
] as const;

/** Settings that the next message is sent with. */
export function ChatPanel({ settings, change, wrong, body }: Props) {
  const set = (name: keyof ChatSettings) => (value: string) =>
    change({ ...settings, [name]: value });
  const isWide = window.matchMedia('(min-width: 1000px)').matches;
  return (
    <section className="card panel" aria-label="Settings">
      <Fold title="Settings" reason={wrong ?? isWide}>
        <Area
          id="system"
          label="System prompt"
          rows={3}
          value={settings.system}
          set={set('system')}
          wrong={wrong}
          help="Instructions for the model, sent before the conversation"
        />
        <div className="pairs">
          {SAMPLING.map(([id, label, help]) => (
            <Text
              key={id}
              id={id}
              label={label}
              value={settings[id]}
              change={set(id)}
              placeholder=""
              wrong={wrong}
              help={help}
            />
          ))}
        </div>
        <Area
          id="stop"
          label="Stop"
          rows={2}
          value={settings.stop}
          set={set('stop')}
          wrong={wrong}
          help="Stop at any of these texts, one per line"
        />
        <Area
          id="schema"
          label="JSON schema"
          rows={4}
          value={settings.schema}
          set={set('schema')}
          wrong={wrong}
          help="Answers must match this schema"
        />
        <label>
          <input
            type="checkbox"
            checked={settings.markdown}
            onChange={(event) => change({ ...settings, markdown: event.target.checked })}
          />{' '}
          show answers as Markdown
        </label>
      </Fold>
      <Fold title="View code" reason={null}>
        {body === null
          ? 'Correct the settings first.'
          : chatCode(body, location.origin).map(({ title, code }) => (
              <section key={title} aria-label={title}>
                <div className="bar">
                  <b>{title}</b>
                  <span className="grow" />
                  <CopyButton text={code} label={`Copy ${title}`} />
                </div>
                <pre tabIndex={0}>{code}</pre>
              </section>
            ))}
      </Fold>
    </section>
  );
}

interface AreaProps {
  readonly id: string;
  readonly label: string;
  readonly rows: number;
  readonly value: string;
  readonly set: (value: string) => void;
  readonly wrong: Refusal | null;
  readonly help: string;
}

function Area({ id, label, rows, value, set, wrong, help }: AreaProps) {
  const bad = isOf(wrong, id);
  return (
    <div className={bad ? 'field wrong' : 'field'}>
      <label htmlFor={id}>{label}</label>
      <textarea
        id={id}
        rows={rows}
        value={value}
        spellCheck={id === 'system'}
        aria-invalid={bad}
        aria-describedby={described(id, { help: true, bad })}
        onChange={(event) => set(event.target.value)}
      />
      {bad && <FieldProblem id={id} wrong={wrong} />}
      <small id={`${id}-help`}>{help}</small>
    </div>
  );
}
