import { useState } from 'react';
import type { Change } from '../forms/change.js';
import type { Draft } from './job-draft.js';
import { isAs, PRESETS, withPreset, type PresetFields } from './presets.js';
import type { Preview } from './use-preview.js';

interface Props {
  readonly draft: Draft;
  readonly change: Change<Draft>;
  readonly preview: Preview;
}

/** Presets for training length, above the fields that they set. They depend on the data. */
export function PresetChoice({ draft, change, preview: { plan, asking } }: Props) {
  const [set, setSet] = useState<{ readonly name: string; readonly fields: PresetFields }>({
    name: 'Balanced',
    fields: {},
  });
  const chosen = isAs(draft, set.fields) ? set.name : null;
  return (
    <div className="choices" role="radiogroup" aria-label="Preset">
      {PRESETS.map(({ name, means, fields }) => (
        <label key={name} className={name === chosen ? 'choice chosen' : 'choice'}>
          <input
            type="radio"
            name="preset"
            checked={name === chosen}
            disabled={(plan === null || asking) && name !== chosen}
            onChange={() => {
              if (plan === null) return;
              const filled = fields(plan);
              setSet({ name, fields: filled });
              change((now) => withPreset(now, filled));
            }}
          />
          <b>{name}</b>
          <small>{means}</small>
        </label>
      ))}
    </div>
  );
}
