import { Radio } from '@base-ui/react/radio';
import { RadioGroup } from '@base-ui/react/radio-group';
import type { ReactNode } from 'react';

interface SegmentedProps<Value extends string> {
  readonly label: string;
  readonly value: Value;
  /** Two to four choices: the value, and its label. */
  readonly choices: readonly (readonly [value: Value, label: ReactNode])[];
  readonly change: (value: Value) => void;
  readonly disabled?: boolean;
}

/** A choice between two to four values, in one line. */
export function Segmented<Value extends string>(props: SegmentedProps<Value>) {
  const { label, value, choices, change, disabled = false } = props;
  return (
    <RadioGroup
      className="segmented"
      aria-label={label}
      value={value}
      disabled={disabled}
      onValueChange={(chosen) => change(chosen as Value)}
    >
      {choices.map(([one, text]) => (
        <label key={one} className="segment">
          <Radio.Root value={one} className="unseen-radio" />
          <span>{text}</span>
        </label>
      ))}
    </RadioGroup>
  );
}
