import type { FileObject } from '@graft/contracts';
import { HELD_OUT, HELD_OUT_FROM } from '@graft/contracts/validation';
import type { Change } from '../forms/change.js';
import { NONE } from '../forms/schema-fields.js';
import type { Draft } from './job-draft.js';

interface Props {
  readonly draft: Draft;
  readonly change: Change<Draft>;
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

/** Whether the form holds out a share, and its size. */
export function heldOut(
  draft: Draft,
  file: FileObject | undefined,
): { readonly isHeld: boolean; readonly share: number } {
  const typed = draft.graft['validation_split'] ?? '';
  const isHeld = typed === '' ? isHeldOutByDefault(draft, file) : typed !== NONE;
  return { isHeld, share: Number(typed) > 0 ? Number(typed) : HELD_OUT };
}

/** Checkbox for holding out a part of the training file. */
export function HeldOut({ draft, change, file }: Props) {
  const { isHeld, share } = heldOut(draft, file);
  const hasFile = draft.validation_file !== '';
  const byDefault = isHeldOutByDefault(draft, file);
  return (
    <label className="held-out">
      <input
        type="checkbox"
        checked={isHeld && !hasFile}
        disabled={hasFile}
        onChange={(event) => {
          const value = splitValue(event.target.checked, byDefault);
          change(({ graft }) => ({ graft: { ...graft, validation_split: value } }));
        }}
      />{' '}
      Hold out {Math.round(100 * share)} % to measure the result{' '}
      <span className="faint">
        {hasFile ? '(the validation file is used instead)' : isHeld ? '(stratified by label)' : ''}
      </span>
    </label>
  );
}
