import type { TranscriptionSegment } from '@graft/contracts';
import { Clock } from 'lucide-react';
import { useEffect, useRef, useState } from 'react';
import { api } from '../../api/api.js';
import { Callout } from '../../ui/feedback/callout.js';
import { Button } from '../../ui/controls/button.js';
import { Copy } from '../copy-icon.js';

export interface Transcript {
  readonly text: string;
  readonly isWhole: boolean;
}

interface Props {
  readonly transcript: Transcript;
  readonly model: string;
  readonly file: File;
  /** Id of the audio element that plays the file. */
  readonly playerId: string;
}

const playerOf = (id: string): HTMLMediaElement | null =>
  document.getElementById(id) as HTMLMediaElement | null;

/** A transcript. Its times are requested separately, because only some models have them. */
export function TranscriptView({ transcript: { text, isWhole }, model, file, playerId }: Props) {
  const [segments, setSegments] = useState<readonly TranscriptionSegment[] | null>(null);
  const [error, setError] = useState<Error | null>(null);
  const [busy, setBusy] = useState(false);
  const controller = useRef(new AbortController());
  useEffect(() => {
    const now = (controller.current = new AbortController());
    return () => now.abort();
  }, []);
  const showTimes = async () => {
    setBusy(true);
    setError(null);
    try {
      setSegments((await api.transcribeTimed(model, file, controller.current.signal)).segments);
    } catch (failure) {
      setError(failure as Error);
    }
    setBusy(false);
  };
  if (segments && segments.length > 0) return <Segments segments={segments} playerId={playerId} />;
  return (
    <>
      <p className="break" aria-busy={!isWhole}>
        {text || (isWhole ? <i>no speech recognized</i> : '')}
      </p>
      {isWhole && text !== '' && (
        <div className="bar">
          <Button size="s" icon={<Clock />} busy={busy} onClick={() => void showTimes()}>
            Show times
          </Button>
          <Copy text={text} label="Copy transcript" />
        </div>
      )}
      {segments && <p className="faint">The model returned no times.</p>}
      {error && <Callout tone="warn">{error.message}</Callout>}
    </>
  );
}

const clock = (seconds: number): string =>
  `${Math.floor(seconds / 60)}:${(seconds % 60).toFixed(1).padStart(4, '0')}`;

/** Parts of a transcript with their times. A click plays from there. */
function Segments({
  segments,
  playerId,
}: {
  segments: readonly TranscriptionSegment[];
  playerId: string;
}) {
  const now = usePosition(playerId);
  const play = ({ start }: TranscriptionSegment) => {
    const player = playerOf(playerId);
    if (!player) return;
    player.currentTime = start;
    void player.play();
  };
  return (
    <ol className="segments" aria-label="Transcript with times">
      {segments.map((segment) => (
        <li
          key={segment.id}
          className={now !== null && now >= segment.start && now < segment.end ? 'on' : undefined}
        >
          <button type="button" onClick={() => play(segment)}>
            <span className="numbers">{clock(segment.start)}</span>
            <span>{segment.text.trim()}</span>
          </button>
        </li>
      ))}
    </ol>
  );
}

/** Returns the position of a player in seconds. Null before it plays. */
function usePosition(id: string): number | null {
  const [now, setNow] = useState<number | null>(null);
  useEffect(() => {
    const player = playerOf(id);
    if (!player) return;
    const moved = () => setNow(player.currentTime);
    player.addEventListener('timeupdate', moved);
    return () => player.removeEventListener('timeupdate', moved);
  }, [id]);
  return now;
}
