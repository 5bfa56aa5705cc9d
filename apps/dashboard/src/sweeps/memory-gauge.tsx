import { bytes } from '../format.js';
import type { SharedMemory } from './race.js';

/** Memory that running trials use together, compared with a base for each. */
export function MemoryGauge({ memory }: { memory: SharedMemory }) {
  const { runs, bases, bytes: used, alone } = memory;
  const held = bases === 1 ? 'one base' : `${bases} bases`;
  return (
    <div className="memory-gauge" role="group" aria-label="Shared memory">
      <span>
        <b>{runs} runs</b> · <b>{held}</b> · <b>{bytes(used)}</b>{' '}
        <span className="faint">instead of {bytes(alone)}</span>
      </span>
      <meter
        value={used}
        max={alone}
        aria-label={`${bytes(used)} of the ${bytes(alone)} that separate bases would need`}
      />
    </div>
  );
}
