import type { CatalogMethod } from '@graft/contracts';
import { useMemo } from 'react';
import type { Refusal } from '../forms/field-problem.js';
import { Fold } from '../ui/fold.js';
import { fieldsOf, SchemaForm, wrongIn } from '../forms/schema-form.js';

interface MethodChoiceProps {
  readonly methods: readonly CatalogMethod[];
  readonly chosen: CatalogMethod;
  readonly choose: (peftType: string) => void;
}

/** Number of methods shown by default. The catalog lists the most common first. */
const USUAL = 5;

/** Methods of the catalog as selectable cards. Most of them are folded. */
export function MethodChoice({ methods, chosen, choose }: MethodChoiceProps) {
  const rest = methods.slice(USUAL);
  const cards = (some: readonly CatalogMethod[]) => (
    <div className="choices">
      {some.map((method) => (
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
  return (
    <div role="radiogroup" aria-label="Method">
      {cards(methods.slice(0, USUAL))}
      {rest.length > 0 && (
        <Fold className="more" title={`${rest.length} more methods`} reason={rest.includes(chosen)}>
          {cards(rest)}
        </Fold>
      )}
    </div>
  );
}

/** Number of options shown by default. A method's schema lists the most important first. */
const SHOWN = 4;

interface MethodOptionsProps {
  readonly method: CatalogMethod;
  readonly values: Readonly<Record<string, string>>;
  readonly change: (name: string, value: string) => void;
  readonly wrong: Refusal | null;
}

/** Configuration of the selected method. */
export function MethodOptions({ method, ...form }: MethodOptionsProps) {
  const fields = useMemo(() => fieldsOf(method.schema), [method]);
  if (fields.length === 0) return null;
  const rest = fields.slice(SHOWN);
  return (
    <div className="card">
      <SchemaForm prefix="peft" fields={fields.slice(0, SHOWN)} {...form} />
      {rest.length > 0 && (
        <Fold
          key={method.peft_type}
          title={`More options of ${method.title}`}
          reason={wrongIn(form.wrong, 'peft', rest)}
        >
          <SchemaForm prefix="peft" fields={rest} {...form} />
        </Fold>
      )}
    </div>
  );
}
