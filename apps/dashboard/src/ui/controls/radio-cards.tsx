import { useId, type ReactNode } from 'react';

export interface RadioCard<Value extends string> {
  readonly value: Value;
  readonly title: ReactNode;
  /** One or two short sentences. */
  readonly text: ReactNode;
  /** A word such as "Recommended". */
  readonly badge?: string;
  readonly disabled?: boolean;
}

interface RadioCardsProps<Value extends string> {
  readonly label: string;
  readonly value: Value | null;
  readonly cards: readonly RadioCard<Value>[];
  readonly change: (value: Value) => void;
}

/** A choice between a few values that each need a sentence. */
export function RadioCards<Value extends string>(props: RadioCardsProps<Value>) {
  const { label, value, cards, change } = props;
  const name = useId();
  return (
    <div className="radio-cards" role="radiogroup" aria-label={label}>
      {cards.map((card) => (
        <label key={card.value} className={card.value === value ? 'radio-card on' : 'radio-card'}>
          <input
            type="radio"
            name={name}
            checked={card.value === value}
            disabled={card.disabled}
            onChange={() => change(card.value)}
          />
          <b>
            {card.title}
            {card.badge && <span className="badge">{card.badge}</span>}
          </b>
          <small>{card.text}</small>
        </label>
      ))}
    </div>
  );
}
