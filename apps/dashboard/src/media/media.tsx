import { useEffect, useState } from 'react';
import { bytesOf, peaks, type MediaUrl } from './media-url.js';
import './media.css';

const BARS = 120;
/** Images with a side of at most this many pixels are enlarged. */
const FEW_PIXELS = 100;
/** Sample rate for drawing a waveform. A higher one would not be visible. */
const RATE = 8000;

interface MediaProps {
  readonly media: MediaUrl;
  /** Description for screen readers. */
  readonly what: string;
  /** Id of the audio element, for controls elsewhere. */
  readonly playerId?: string;
}

/** An image, or an audio player with its waveform. */
export function Media({ media, what, playerId }: MediaProps) {
  return media.medium === 'image' ? (
    <ImageView url={media.url} what={what} />
  ) : (
    <AudioPlayer url={media.url} what={what} playerId={playerId} />
  );
}

function ImageView({ url, what }: { url: string; what: string }) {
  const [isShown, setShown] = useState(true);
  const [isSmall, setSmall] = useState(false);
  // Browsers do not support TIFF.
  if (!isShown) return <p className="faint">This browser cannot show the image.</p>;
  return (
    <img
      className={isSmall ? 'image small' : 'image'}
      src={url}
      alt={what}
      loading="lazy"
      decoding="async"
      onLoad={({ currentTarget }) => setSmall(currentTarget.naturalWidth < FEW_PIXELS)}
      onError={() => setShown(false)}
    />
  );
}

interface Wave {
  readonly seconds: number;
  readonly heights: readonly number[];
}

interface PlayerProps {
  readonly url: string;
  readonly what: string;
  readonly playerId: string | undefined;
}

function AudioPlayer({ url, what, playerId }: PlayerProps) {
  const [wave, setWave] = useState<Wave | null>(null);
  useEffect(() => {
    let isUnmounted = false;
    waveOf(url).then(
      (found) => isUnmounted || setWave(found),
      // The player reports playback errors.
      () => undefined,
    );
    return () => {
      isUnmounted = true;
    };
  }, [url]);
  return (
    <div className="audio">
      <svg
        className="wave"
        viewBox={`0 -1 ${BARS} 2`}
        preserveAspectRatio="none"
        role="img"
        aria-label={
          wave ? `Waveform of ${what}, ${wave.seconds.toFixed(1)} s` : `Waveform of ${what}`
        }
      >
        {wave && <path d={shapeOf(wave.heights)} />}
      </svg>
      <audio id={playerId} controls preload="metadata" src={url} aria-label={what} />
    </div>
  );
}

async function waveOf(url: string): Promise<Wave> {
  const audio = await new OfflineAudioContext(1, 1, RATE).decodeAudioData(bytesOf(url));
  return { seconds: audio.duration, heights: peaks(audio.getChannelData(0), BARS) };
}

/** Returns one bar per section, centered vertically. Silence is a line. */
const shapeOf = (heights: readonly number[]): string =>
  heights
    .map((height, n) => {
      const h = Math.max(height, 0.02).toFixed(3);
      return `M${n + 0.5} -${h}V${h}`;
    })
    .join('');
