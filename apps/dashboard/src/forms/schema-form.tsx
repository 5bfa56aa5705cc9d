import { Field as Labelled, fieldTexts } from '../ui/controls/field.js';
import { NumberField } from '../ui/controls/number-field.js';
import { problemAt, type Problem } from './field-problem.js';
import { choiceLabel, labelOf, shortHelp, UNITS } from './labels.js';
import type { Field } from './schema-fields.js';
import { TargetsField } from './targets-field.js';

type Values = Readonly<Record<string, unknown>>;

const shownValue = (value: unknown): string =>
  value === undefined
    ? ''
    : value === null
      ? 'none'
      : typeof value === 'string'
        ? value
        : JSON.stringify(value);

/** Whether a problem concerns one of these fields. Opens the section that contains it. */
export const problemIn = (
  problems: readonly Problem[],
  prefix: string,
  fields: readonly Field[],
): boolean => fields.some(({ name }) => problemAt(problems, `${prefix}.${name}`) !== null);

export interface SchemaFormProps {
  readonly prefix: string;
  readonly fields: readonly Field[];
  readonly values: Readonly<Record<string, string>>;
  readonly change: (name: string, value: string) => void;
  readonly problems: readonly Problem[];
  /** Values that empty fields get, by name, if they are known; otherwise the schema's defaults. */
  readonly automatic?: Values;
  /** Names of the model's layers, to choose from. */
  readonly layers?: readonly string[];
}

/** Fields generated from a JSON schema, with human labels. The API's names are behind their ⓘ. */
export function SchemaForm({ prefix, fields, values, automatic = {}, ...form }: SchemaFormProps) {
  return (
    <div className="fields">
      {fields.map((field) => {
        const id = `${prefix}.${field.name}`;
        const chosen = automatic[field.name];
        return (
          <SchemaField
            key={id}
            id={id}
            field={field}
            value={values[field.name] ?? ''}
            automatic={shownValue(chosen === undefined ? field.fallback : chosen)}
            change={(value) => form.change(field.name, value)}
            problem={problemAt(form.problems, id)}
            layers={form.layers ?? []}
          />
        );
      })}
    </div>
  );
}

interface SchemaFieldProps {
  /** Path of the field in the request body. */
  readonly id: string;
  readonly field: Field;
  readonly value: string;
  readonly automatic: string;
  readonly change: (value: string) => void;
  readonly problem: string | null;
  readonly layers: readonly string[];
}

function SchemaField(props: SchemaFieldProps) {
  const { id, field, value, automatic, change, problem, layers } = props;
  const label = labelOf(id);
  const help = shortHelp(field.help);
  const info = { path: id, ...(field.help && { text: field.help }) };
  if (field.name === 'target_modules')
    return <TargetsField {...{ id, label, info, value, automatic, change, problem, layers }} />;
  if (field.kind === 'integer' || field.kind === 'number')
    return (
      <NumberField
        {...{ id, label, info, value, change, problem }}
        automatic={automatic === '' || automatic === 'none' ? null : automatic}
        {...(help && { help })}
        {...(UNITS[field.name] && { unit: UNITS[field.name] as string })}
      />
    );
  const shared = {
    id,
    value,
    'aria-invalid': problem !== null,
    'aria-describedby': fieldTexts(id, { help, problem }),
  };
  return (
    <Labelled {...{ id, label, info, problem }} {...(help && { help })}>
      {field.kind === 'flag' || field.kind === 'choice' ? (
        <select {...shared} onChange={(event) => change(event.target.value)}>
          <option value="">{automaticText(automatic, field.areNames)}</option>
          {field.kind === 'flag' ? (
            <>
              <option value="true">On</option>
              <option value="false">Off</option>
            </>
          ) : (
            field.choices.map((choice) => (
              <option key={choice} value={choice}>
                {field.areNames ? choice : choiceLabel(choice)}
              </option>
            ))
          )}
        </select>
      ) : (
        <input
          {...shared}
          autoComplete="off"
          placeholder={automatic || (field.nullable ? 'none' : '')}
          onChange={(event) => change(event.target.value)}
        />
      )}
    </Labelled>
  );
}

const FLAGS: Readonly<Record<string, string>> = { true: 'On', false: 'Off' };

function automaticText(automatic: string, isName = false): string {
  if (automatic === '') return 'Automatic';
  const label = isName ? automatic : (FLAGS[automatic] ?? choiceLabel(automatic));
  return `${label} (automatic)`;
}
