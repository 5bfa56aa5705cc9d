import { described, FieldProblem, isOf, type Refusal } from './field-problem.js';

interface PickProps {
  readonly label: string;
  readonly value: string;
  readonly choices: readonly (readonly [string, string])[];
  readonly change: (value: string) => void;
  readonly none: string;
  readonly wrong: Refusal | null;
  readonly help: string;
  readonly required?: boolean;
}

/** A choice of a form. */
export function Pick({ label, value, choices, change, none, wrong, help, required }: PickProps) {
  const bad = isOf(wrong, label);
  return (
    <div className={bad ? 'field wrong' : 'field'}>
      <label htmlFor={label}>{label}</label>
      <select
        id={label}
        value={value}
        required={required}
        aria-invalid={bad}
        aria-describedby={described(label, { help: true, bad })}
        onChange={(e) => change(e.target.value)}
      >
        <option value="">{none}</option>
        {choices.map(([id, text]) => (
          <option key={id} value={id}>
            {text}
          </option>
        ))}
      </select>
      {bad && <FieldProblem id={label} wrong={wrong} />}
      <small id={`${label}-help`}>{help}</small>
    </div>
  );
}

interface TextProps {
  /** Path of the field in the body; its last part is the label unless another is given. */
  readonly id: string;
  readonly label?: string;
  readonly value: string;
  readonly change: (value: string) => void;
  readonly placeholder: string;
  readonly wrong: Refusal | null;
  readonly help: string;
}

/** A text of a form. */
export function Text({ id, label = id, value, change, placeholder, wrong, help }: TextProps) {
  // n_epochs comes back as method.supervised.hyperparameters.n_epochs
  const bad = isOf(wrong, id) || wrong?.param?.endsWith(`hyperparameters.${id}`) === true;
  return (
    <div className={bad ? 'field wrong' : 'field'}>
      <label htmlFor={id}>{label}</label>
      <input
        id={id}
        value={value}
        placeholder={placeholder}
        aria-invalid={bad}
        aria-describedby={described(id, { help: true, bad })}
        onChange={(e) => change(e.target.value)}
      />
      {bad && <FieldProblem id={id} wrong={wrong} />}
      <small id={`${id}-help`}>{help}</small>
    </div>
  );
}
