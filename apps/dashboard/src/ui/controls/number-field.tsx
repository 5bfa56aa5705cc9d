import { Field, fieldTexts, type FieldInfo } from './field.js';

interface NumberFieldProps {
  readonly id: string;
  readonly label: string;
  /** Text as typed. '' leaves the choice to Graft. */
  readonly value: string;
  readonly change: (value: string) => void;
  /** Value that Graft chooses for an empty field, shown within it. */
  readonly automatic?: string | null;
  readonly unit?: string;
  readonly help?: string;
  readonly info?: FieldInfo;
  readonly problem?: string | null;
}

/** A number with its unit. Empty, it shows the value that Graft would choose. */
export function NumberField(props: NumberFieldProps) {
  const { id, label, value, change, automatic, unit, help, info, problem } = props;
  return (
    <Field id={id} label={label} {...(help && { help })} {...(info && { info })} problem={problem}>
      <span className="with-unit">
        <input
          id={id}
          inputMode="decimal"
          autoComplete="off"
          className="numbers"
          value={value}
          placeholder={automatic ? `${automatic} (automatic)` : ''}
          aria-invalid={Boolean(problem)}
          aria-describedby={fieldTexts(id, { help, problem })}
          onChange={(event) => change(event.target.value)}
        />
        {unit && <span aria-hidden="true">{unit}</span>}
      </span>
    </Field>
  );
}
