import { Info } from 'lucide-react';
import type { ReactNode } from 'react';
import { Popup } from '../overlays/menu.js';

/** Details behind a field's ⓘ: the API's name and its full description. */
export interface FieldInfo {
  /** Path of the field in the request body, such as `graft.learning_rate`. */
  readonly path: string;
  readonly text?: string;
}

interface FieldProps {
  /** Id of the control, and the prefix of the ids of its texts. */
  readonly id: string;
  readonly label: ReactNode;
  /** One line of at most 60 characters. */
  readonly help?: ReactNode;
  readonly info?: FieldInfo;
  /** Error of the field, in the words of the API. */
  readonly problem?: ReactNode;
  /** The control. Give it the id and `fieldTexts(id, …)` as `aria-describedby`. */
  readonly children: ReactNode;
}

/** Ids of the texts that describe a field, for `aria-describedby`. */
export const fieldTexts = (
  id: string,
  { help, problem }: { readonly help?: unknown; readonly problem?: unknown },
): string | undefined =>
  [problem && `${id}-problem`, help && `${id}-help`].filter(Boolean).join(' ') || undefined;

/** A control with its label, one line of help, details behind an ⓘ, and its error. */
export function Field({ id, label, help, info, problem, children }: FieldProps) {
  return (
    <div className={problem ? 'field wrong' : 'field'}>
      <span className="field-label">
        <label htmlFor={id}>{label}</label>
        {info && <FieldDetails {...info} label={label} />}
      </span>
      {children}
      {problem && (
        <small id={`${id}-problem`} className="bad" role="alert">
          {problem}
        </small>
      )}
      {help && <small id={`${id}-help`}>{help}</small>}
    </div>
  );
}

/** The ⓘ next to a label. */
const FieldDetails = ({ path, text, label }: FieldInfo & { readonly label: ReactNode }) => (
  <Popup
    className="card field-details"
    align="center"
    trigger={
      <button
        type="button"
        className="quiet info"
        aria-label={`About ${typeof label === 'string' ? label : path}`}
      >
        <Info />
      </button>
    }
  >
    {text && <p>{text}</p>}
    <p className="faint">
      In the API: <code>{path}</code>
    </p>
  </Popup>
);
