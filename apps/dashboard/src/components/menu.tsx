import { useEffect, useRef, type ReactNode } from 'react';

/** What a button opens under itself; it closes on Escape, or where somebody presses elsewhere. */
export function Menu({ label, children }: { label: string; children: ReactNode }) {
  const box = useRef<HTMLDetailsElement>(null);
  useEffect(() => {
    const close = (event: Event) => {
      const { current } = box;
      const inside = event.target instanceof Node && current?.contains(event.target);
      const escape = event instanceof KeyboardEvent && event.key === 'Escape';
      if (!current?.open || (event.type === 'keydown' ? !escape : inside)) return;
      current.open = false;
      if (escape) current.querySelector('summary')?.focus();
    };
    addEventListener('pointerdown', close);
    addEventListener('keydown', close);
    return () => {
      removeEventListener('pointerdown', close);
      removeEventListener('keydown', close);
    };
  }, []);
  return (
    <details ref={box} className="menu">
      <summary className="button">{label}</summary>
      <div className="card">{children}</div>
    </details>
  );
}
