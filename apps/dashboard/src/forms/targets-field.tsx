import { useState } from 'react';
import { Field, fieldTexts, type FieldInfo } from '../ui/controls/field.js';
import { Segmented } from '../ui/controls/segmented.js';

interface Props {
  readonly id: string;
  readonly label: string;
  readonly info: FieldInfo;
  /** Text as typed: names separated by commas, "all-linear" or a regular expression. */
  readonly value: string;
  readonly automatic: string;
  readonly change: (value: string) => void;
  readonly problem: string | null;
  /** Names of the model's layers; empty if unknown. */
  readonly layers: readonly string[];
}

const ALL = 'all-linear';
/** Names of the projections of attention, in the families' spellings. */
const ATTENTION =
  /^(([qkvo]|qkv|q_a|q_b|kv_a|kv_b|out)_(proj|lin)|query|key|value|query_key_value|c_attn|q|k|v|o|Wqkv|Wo)$/;

export const attentionOf = (layers: readonly string[]): readonly string[] =>
  layers.filter((name) => ATTENTION.test(name));

/** Returns the names of a list, typed or as JSON. */
const namesIn = (value: string): readonly string[] =>
  value
    .replaceAll(/[[\]"]/g, '')
    .split(',')
    .map((name) => name.trim())
    .filter((name) => name !== '');

type Which = 'all' | 'attention' | 'own';

/** Choice of the layers that an adapter changes: all, those of attention, or a list with suggestions. */
export function TargetsField(props: Props) {
  const { id, label, info, value, automatic, change, problem, layers } = props;
  const attention = attentionOf(layers).join(', ');
  const shown = value === '' ? automatic : value;
  const [isOwn, setOwn] = useState(false);
  const which: Which =
    isOwn || problem !== null
      ? 'own'
      : shown === ALL
        ? 'all'
        : attention !== '' && namesIn(shown).join(', ') === attention
          ? 'attention'
          : value === ''
            ? 'all'
            : 'own';
  const choose = (next: Which) => {
    setOwn(next === 'own');
    if (next === 'all') change(automatic === ALL ? '' : ALL);
    if (next === 'attention') change(attention);
    if (next === 'own' && shown === ALL)
      change(layers.filter((one) => /_proj$/.test(one)).join(', '));
  };
  const chosen = namesIn(value);
  const rest = layers.filter((name) => !chosen.includes(name));
  return (
    <Field {...{ id, label, info, problem }}>
      <Segmented
        label={label}
        value={which}
        choices={[
          ['all', 'All linear'],
          ...(attention === '' ? [] : [['attention', 'Attention only'] as const]),
          ['own', 'Your list'],
        ]}
        change={choose}
      />
      {which === 'own' && (
        <>
          <input
            id={id}
            value={value}
            placeholder={automatic || 'q_proj, v_proj'}
            autoComplete="off"
            aria-invalid={problem !== null}
            aria-describedby={fieldTexts(id, { problem })}
            onChange={(event) => change(event.target.value)}
          />
          {rest.length > 0 && (
            <span className="layer-suggestions">
              {rest.map((name) => (
                <button
                  key={name}
                  type="button"
                  className="small"
                  aria-label={`Add ${name}`}
                  onClick={() => change([...chosen, name].join(', '))}
                >
                  + {name}
                </button>
              ))}
            </span>
          )}
        </>
      )}
    </Field>
  );
}
