// Tooltips. One layer shows them all; its popup is loaded when the first one is needed.
import {
  cloneElement,
  lazy,
  Suspense,
  useEffect,
  useState,
  type ComponentProps,
  type ReactElement,
} from 'react';

const LoadedTip = lazy(async () => ({ default: (await import('./loaded-tip.js')).LoadedTip }));

/** Milliseconds that the pointer rests on an element before its tooltip opens. */
const OPEN_MS = 500;
/** Milliseconds in which the pointer can reach the tooltip. */
const CLOSE_MS = 100;

/** Tooltip that describes a button or link while it has the pointer or the focus. */
export const Tip = ({ text, children }: { text: string; children: ReactElement }) =>
  cloneElement(children as ReactElement<ComponentProps<'button'> & { 'data-tip'?: string }>, {
    'data-tip': text,
  });

const ownerOf = (target: EventTarget | null): Element | null =>
  target instanceof Element ? target.closest('[data-tip]') : null;

/** Returns the element whose tooltip is open. */
function useDescribed(): Element | null {
  const [described, setDescribed] = useState<Element | null>(null);
  useEffect(() => {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const change = (to: Element | null, ms: number) => {
      clearTimeout(timer);
      timer = setTimeout(() => setDescribed(to), ms);
    };
    const point = ({ target, pointerType }: PointerEvent) => {
      if (pointerType === 'touch') return;
      // WCAG 1.4.13: a tooltip stays while the pointer is on it.
      if (target instanceof Element && target.closest('.tip')) return clearTimeout(timer);
      const owner = ownerOf(target);
      change(owner, owner ? OPEN_MS : CLOSE_MS);
    };
    const focus = ({ target }: FocusEvent) => {
      const isVisible = target instanceof Element && target.matches(':focus-visible');
      change(isVisible ? ownerOf(target) : null, 0);
    };
    const close = () => change(null, 0);
    const escape = ({ key }: KeyboardEvent) => key === 'Escape' && close();
    const listeners = Object.entries({
      pointerover: point,
      pointerdown: close,
      focusin: focus,
      focusout: close,
      keydown: escape,
    }) as [string, EventListener][];
    for (const [type, listener] of listeners) document.addEventListener(type, listener);
    return () => {
      clearTimeout(timer);
      for (const [type, listener] of listeners) document.removeEventListener(type, listener);
    };
  }, []);
  return described?.isConnected ? described : null;
}

/** Shows the tooltip of the element that has the pointer or the focus. */
export function Tips() {
  const described = useDescribed();
  return (
    described && (
      <Suspense>
        <LoadedTip anchor={described} text={described.getAttribute('data-tip') ?? ''} />
      </Suspense>
    )
  );
}
