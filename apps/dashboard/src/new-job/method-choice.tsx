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

/** The catalogue begins with what most people want. */
const USUAL = 5;

/** The methods of the catalogue, as cards of which one is chosen; most of them one click away. */
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

/** Fields at the head of a method's schema are what people set; the rest is one click away. */
const SHOWN = 4;

interface MethodOptionsProps {
  readonly method: CatalogMethod;
  readonly values: Readonly<Record<string, string>>;
  readonly change: (name: string, value: string) => void;
  readonly wrong: Refusal | null;
}

/** The chosen method's own configuration. */
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
