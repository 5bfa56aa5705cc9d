import type { CombinationType, JobObject, ModelObject } from '@graft/contracts';
import { useNavigate } from '@tanstack/react-router';
import { useState, type FormEvent } from 'react';
import { api } from '../api/api.js';
import { useLoaded } from '../api/loaded.js';
import { Failure } from '../ui/feedback/failure.js';

/** PEFT's combination types, most useful first. */
const WAYS: Readonly<Record<CombinationType, string>> = {
  svd: 'svd: weighted sum, truncated to the largest rank',
  cat: 'cat: exact weighted sum; ranks add up',
  linear: 'linear: approximate weighted sum of equal ranks',
  ties: 'ties: large values with the majority sign',
  dare_linear: 'dare_linear: random subset of values',
  dare_ties: 'dare_ties: random subset with the majority sign',
  magnitude_prune: 'magnitude_prune: largest values',
  ties_svd: 'ties_svd: ties on full weight updates',
  dare_linear_svd: 'dare_linear_svd: dare_linear on full weight updates',
  dare_ties_svd: 'dare_ties_svd: dare_ties on full weight updates',
  magnitude_prune_svd: 'magnitude_prune_svd: magnitude_prune on full weight updates',
};
const TYPES = Object.keys(WAYS) as CombinationType[];
const isPruned = (type: CombinationType): boolean => /ties|dare|prune/.test(type);

interface Part {
  readonly name: string;
  readonly weight: string;
}

/** Form that combines several LoRAs of a base model, each with a weight. Starts a job and opens its page. */
export function CombineAdapters({ model }: { readonly model: ModelObject }) {
  const navigate = useNavigate();
  const models = useLoaded(['models'], async () => (await api.models()).data);
  const [parts, setParts] = useState<readonly Part[]>([{ name: model.id, weight: '1' }]);
  const [type, setType] = useState<CombinationType>('svd');
  const [density, setDensity] = useState('0.5');
  const [error, setError] = useState<Error | null>(null);
  const base = model.graft?.base;
  const others = (models.value ?? []).filter(
    ({ id, graft }) =>
      graft?.kind === 'adapter' && graft.base === base && !parts.some(({ name }) => name === id),
  );
  const combine = (event: FormEvent): void => {
    event.preventDefault();
    setError(null);
    const body = {
      type: 'combine',
      adapters: parts.map(({ name }) => name),
      weights: parts.map(({ weight }) => Number(weight)),
      combination_type: type,
      ...(isPruned(type) && { density: Number(density) }),
    };
    api.operate(body).then(({ id }: JobObject) => {
      void navigate({ to: '/jobs/$id', params: { id } });
    }, setError);
  };
  return (
    <form className="stack" aria-label="Combination" onSubmit={combine}>
      {parts.map((part) => (
        <Weighed
          key={part.name}
          part={part}
          change={(weight) =>
            setParts((now) => now.map((one) => (one === part ? { ...one, weight } : one)))
          }
          remove={() => setParts((now) => now.filter((one) => one !== part))}
        />
      ))}
      <label>
        With{' '}
        <select
          value=""
          onChange={({ target: { value: name } }) =>
            setParts((now) => [...now, { name, weight: '1' }])
          }
        >
          <option value="">
            {others.length > 0 ? 'another adapter…' : `no other adapter on ${base}`}
          </option>
          {others.map(({ id }) => (
            <option key={id}>{id}</option>
          ))}
        </select>
      </label>
      <label>
        Method{' '}
        <select value={type} onChange={(e) => setType(e.target.value as CombinationType)}>
          {TYPES.map((one) => (
            <option key={one} value={one}>
              {WAYS[one]}
            </option>
          ))}
        </select>
      </label>
      {isPruned(type) && (
        <label>
          Fraction of values to keep{' '}
          <input
            value={density}
            inputMode="decimal"
            size={5}
            onChange={(e) => setDensity(e.target.value)}
          />
        </label>
      )}
      <Failure error={error ?? models.error} />
      <button disabled={parts.length < 2}>Combine</button>
    </form>
  );
}

interface WeighedProps {
  readonly part: Part;
  readonly change: (weight: string) => void;
  readonly remove: () => void;
}

function Weighed({ part: { name, weight }, change, remove }: WeighedProps) {
  return (
    <div className="bar">
      <input
        aria-label={`Weight of ${name}`}
        value={weight}
        inputMode="decimal"
        size={5}
        onChange={(e) => change(e.target.value)}
      />
      <span className="break">× {name}</span>
      <button type="button" className="small" aria-label={`Remove ${name}`} onClick={remove}>
        <span aria-hidden="true">×</span>
      </button>
    </div>
  );
}
