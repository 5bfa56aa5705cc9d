import { Field, fieldTexts } from '../../ui/controls/field.js';
import { Button } from '../../ui/controls/button.js';
import { NumberField } from '../../ui/controls/number-field.js';
import { Segmented } from '../../ui/controls/segmented.js';
import { isOf, type Refusal } from '../../forms/field-problem.js';
import {
  DEFAULTS,
  type AnswerFormat,
  type ChatSettings,
  type ToolChoice,
} from './chat-settings.js';

interface Props {
  readonly settings: ChatSettings;
  readonly change: (settings: ChatSettings) => void;
  readonly wrong: Refusal | null;
}

const NUMBERS = [
  {
    id: 'temperature',
    label: 'Temperature',
    help: '0 always picks the most likely token',
    info: 'Higher values give more varied answers. From 0 to 2.',
  },
  {
    id: 'top_p',
    label: 'Top-p',
    help: 'Only the most likely tokens',
    info: 'Sample from the most likely tokens whose probabilities add up to this value.',
  },
  {
    id: 'max_tokens',
    label: 'Maximum length',
    help: 'Longer answers are cut off',
    unit: 'tokens',
    info: 'Maximum number of tokens of an answer.',
  },
  {
    id: 'seed',
    label: 'Seed',
    help: 'Same seed, same answer',
    info: 'Starting value of the random numbers.',
  },
] as const;

const TOOL_EXAMPLE = JSON.stringify(
  {
    name: 'get_weather',
    description: 'Current weather of a city',
    parameters: {
      type: 'object',
      properties: { city: { type: 'string' } },
      required: ['city'],
    },
  },
  null,
  2,
);
const SCHEMA_EXAMPLE = JSON.stringify(
  {
    type: 'object',
    properties: { answer: { type: 'string' }, confidence: { type: 'number' } },
    required: ['answer', 'confidence'],
  },
  null,
  2,
);

/** Settings that the next message is sent with. */
export function SettingsPanel({ settings, change, wrong }: Props) {
  const set =
    <Name extends keyof ChatSettings>(name: Name) =>
    (value: ChatSettings[Name]) =>
      change({ ...settings, [name]: value });
  const problem = (id: string) => (isOf(wrong, id) ? (wrong?.message ?? null) : null);
  return (
    <div className="settings-fields">
      <Area
        id="system"
        label="System prompt"
        rows={4}
        value={settings.system}
        set={set('system')}
        problem={problem('system')}
        help="Instructions, sent before the conversation"
      />
      <div className="settings-pairs">
        {NUMBERS.map(({ id, label, help, info, ...rest }) => (
          <NumberField
            key={id}
            id={id}
            label={label}
            value={settings[id]}
            change={set(id)}
            help={help}
            info={{ path: id, text: info }}
            problem={problem(id)}
            {...rest}
          />
        ))}
      </div>
      <Area
        id="stop"
        label="Stop at"
        rows={2}
        value={settings.stop}
        set={set('stop')}
        problem={problem('stop')}
        help="Texts that end an answer, one per line"
      />
      <FormatFields settings={settings} set={set} problem={problem} />
      <ToolFields settings={settings} set={set} problem={problem} />
      <fieldset className="settings-checks">
        <legend>Show answers</legend>
        <Check label="as Markdown" checked={settings.markdown} set={set('markdown')} />
        <Check label="with token probabilities" checked={settings.logprobs} set={set('logprobs')} />
      </fieldset>
      <Button size="s" variant="ghost" onClick={() => change(DEFAULTS)}>
        Reset settings
      </Button>
    </div>
  );
}

interface PartProps {
  readonly settings: ChatSettings;
  readonly set: <Name extends keyof ChatSettings>(
    name: Name,
  ) => (value: ChatSettings[Name]) => void;
  readonly problem: (id: string) => string | null;
}

const FormatFields = ({ settings, set, problem }: PartProps) => (
  <>
    <div className="field">
      <span className="field-label">Answer format</span>
      <Segmented<AnswerFormat>
        label="Answer format"
        value={settings.format}
        change={set('format')}
        choices={[
          ['text', 'Text'],
          ['json', 'JSON'],
          ['schema', 'JSON schema'],
        ]}
      />
    </div>
    {settings.format === 'schema' && (
      <Area
        id="schema"
        label="JSON schema"
        rows={6}
        isCode
        value={settings.schema}
        set={set('schema')}
        problem={problem('schema')}
        help="Answers always match it"
        example={SCHEMA_EXAMPLE}
      />
    )}
  </>
);

const ToolFields = ({ settings, set, problem }: PartProps) => (
  <>
    <Area
      id="tools"
      label="Tools"
      rows={settings.tools === '' ? 2 : 8}
      isCode
      value={settings.tools}
      set={set('tools')}
      problem={problem('tools')}
      help="Functions that the model may call, as JSON"
      example={TOOL_EXAMPLE}
    />
    {settings.tools.trim() !== '' && (
      <Segmented<ToolChoice>
        label="Use of tools"
        value={settings.toolChoice}
        change={set('toolChoice')}
        choices={[
          ['auto', 'Model decides'],
          ['required', 'Always'],
          ['none', 'Never'],
        ]}
      />
    )}
  </>
);

interface CheckProps {
  readonly label: string;
  readonly checked: boolean;
  readonly set: (checked: boolean) => void;
}

const Check = ({ label, checked, set }: CheckProps) => (
  <label>
    <input type="checkbox" checked={checked} onChange={(event) => set(event.target.checked)} />{' '}
    {label}
  </label>
);

interface AreaProps {
  readonly id: string;
  readonly label: string;
  readonly rows: number;
  readonly isCode?: boolean;
  readonly value: string;
  readonly set: (value: string) => void;
  readonly problem: string | null;
  readonly help: string;
  /** Content that a button inserts into the empty field. */
  readonly example?: string;
}

function Area({ id, label, rows, isCode, value, set, problem, help, example }: AreaProps) {
  return (
    <Field id={id} label={label} help={help} problem={problem}>
      <textarea
        id={id}
        className={isCode ? 'code' : undefined}
        rows={rows}
        value={value}
        spellCheck={!isCode}
        aria-invalid={problem !== null}
        aria-describedby={fieldTexts(id, { help, problem })}
        onChange={(event) => set(event.target.value)}
      />
      {example !== undefined && value.trim() === '' && (
        <Button size="s" variant="ghost" onClick={() => set(example)}>
          Insert an example
        </Button>
      )}
    </Field>
  );
}
