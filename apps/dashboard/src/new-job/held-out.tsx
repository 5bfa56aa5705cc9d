import type { FileObject } from '@graft/contracts';
import { HELD_OUT, HELD_OUT_FROM } from '@graft/contracts/validation';
import type { Change } from '../forms/change.js';
import { Text } from '../forms/fields.js';
import type { Refusal } from '../forms/field-problem.js';
import type { Draft } from './job-draft.js';
import { NONE } from '../forms/schema-form.js';

interface Props {
  readonly draft: Draft;
  readonly change: Change<Draft>;
  readonly wrong: Refusal | null;
  /** The selected training file, if any. */
  readonly file: FileObject | undefined;
}

/** Whether the server holds out data by default. */
export const isHeldOutByDefault = (draft: Draft, file: FileObject | undefined): boolean =>
  draft.validation_file === '' &&
  !draft.graft['init_adapter'] &&
  (file?.graft?.records ?? 0) >= HELD_OUT_FROM;

/** Returns the field's value for a choice. Empty if it equals the server's default. */
export function splitValue(isHeld: boolean, byDefault: boolean): string {
  if (isHeld === byDefault) return '';
  return isHeld ? String(HELD_OUT) : NONE;
}

/** Checkbox and fraction for holding out a part of the training file. */
export function HeldOut({ draft, change, wrong, file }: Props) {
  const typed = draft.graft['validation_split'] ?? '';
  const byDefault = isHeldOutByDefault(draft, file);
  const isHeld = typed === '' ? byDefault : typed !== NONE;
  const hasFile = draft.validation_file !== '';
  const share = Number(typed) > 0 ? Number(typed) : HELD_OUT;
  const set = (value: string) =>
    change(({ graft }) => ({ graft: { ...graft, validation_split: value } }));
  return (
    <>
      <div className="field">
        <label>
          <input
            type="checkbox"
            checked={isHeld && !hasFile}
            disabled={hasFile}
            onChange={(e) => set(splitValue(e.target.checked, byDefault))}
          />{' '}
          Hold out {Math.round(100 * share)} % for validation
        </label>
        <small>
          {hasFile
            ? 'The validation file is used instead'
            : `On by default from ${HELD_OUT_FROM} examples; stratified by label`}
        </small>
      </div>
      <Text
        id="graft.validation_split"
        label="Validation split"
        value={typed === NONE ? '' : typed}
        wrong={wrong}
        change={set}
        placeholder={isHeld ? String(HELD_OUT) : 'none'}
        help="Fraction of the training file to hold out, such as 0.2 (validation_split)"
      />
    </>
  );
}
