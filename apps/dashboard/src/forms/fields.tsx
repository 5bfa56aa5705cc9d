import { described, FieldProblem, isOf, type Refusal } from './field-problem.js';

interface TextProps {
  /** Path of the field in the request body. */
  readonly id: string;
  readonly label: string;
  readonly value: string;
  readonly change: (value: string) => void;
  readonly placeholder: string;
  readonly wrong: Refusal | null;
  readonly help: string;
}

/** A labeled text input. */
export function Text({ id, label, value, change, placeholder, wrong, help }: TextProps) {
  // The API reports n_epochs as method.supervised.hyperparameters.n_epochs.
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
