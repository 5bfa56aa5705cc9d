import type { CatalogMethod } from '@graft/contracts';

interface MethodChoiceProps {
  readonly methods: readonly CatalogMethod[];
  readonly chosen: CatalogMethod;
  readonly choose: (peftType: string) => void;
}

/** The methods of the catalogue, as cards of which one is chosen. */
export function MethodChoice({ methods, chosen, choose }: MethodChoiceProps) {
  return (
    <div className="choices" role="radiogroup" aria-label="Method">
      {methods.map((method) => (
        <label key={method.peft_type} className={method === chosen ? 'choice chosen' : 'choice'}>
          <input
            type="radio"
            name="method"
            checked={method === chosen}
            onChange={() => choose(method.peft_type)}
          />
          <b>{method.title}</b>
          <small>{method.summary}</small>
        </label>
      ))}
    </div>
  );
}
