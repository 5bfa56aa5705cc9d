const LINK = 'link[rel="icon"]';
const ORIGINAL = '/favicon.svg';
const COLORS = { running: '#1b7a4b', failed: '#b42318', waiting: '#8a5800' } as const;
/** Circumference of the ring. */
const WHOLE = 2 * Math.PI * 12;

export type FaviconState = keyof typeof COLORS;

/** Draws a ring that is closed as far as the work is done. */
function ring(state: FaviconState, done: number): string {
  const arc = `stroke-dasharray="${(WHOLE * done).toFixed(1)} ${WHOLE.toFixed(1)}"`;
  const circle = (stroke: string, more: string) =>
    `<circle cx="16" cy="16" r="12" fill="none" stroke="${stroke}" stroke-width="7" ${more}/>`;
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><g transform="rotate(-90 16 16)">${circle('#9aa39d', '')}${circle(COLORS[state], arc)}</g></svg>`;
}

/** Shows progress (0 to 1) as the browser tab's icon. Null restores Graft's icon. */
export function setFavicon(state: FaviconState | null, done = 0): void {
  const href =
    state === null ? ORIGINAL : `data:image/svg+xml,${encodeURIComponent(ring(state, done))}`;
  const link = document.querySelector<HTMLLinkElement>(LINK);
  if (link && link.getAttribute('href') !== href) link.href = href;
}
