import { useEffect, useState } from 'react';
import { bytesOf, peaks, type MediaUrl } from './media-url.js';
import './media.css';

const STRETCHES = 120;
/** A side of so many is drawn larger than it is. */
const FEW_PIXELS = 100;
/** What is drawn needs no more samples a second. */
const RATE = 8000;

/** A picture, or a player below the shape of its sound. `what`: for those who do not see it. */
export function Media({ media, what }: { media: MediaUrl; what: string }) {
  return media.medium === 'image' ? (
    <Picture url={media.url} what={what} />
  ) : (
    <Sound url={media.url} what={what} />
  );
}

function Picture({ url, what }: { url: string; what: string }) {
  const [isShown, setShown] = useState(true);
  const [isSmall, setSmall] = useState(false);
  // browsers show no TIFF
  if (!isShown) return <p className="faint">This browser cannot show the image.</p>;
  return (
    <img
      className={isSmall ? 'picture small' : 'picture'}
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

function Sound({ url, what }: { url: string; what: string }) {
  const [wave, setWave] = useState<Wave | null>(null);
  useEffect(() => {
    let isLeft = false;
    waveOf(url).then(
      (found) => isLeft || setWave(found),
      // the player says that it cannot play it
      () => undefined,
    );
    return () => {
      isLeft = true;
    };
  }, [url]);
  return (
    <div className="sound">
      <svg
        className="wave"
        viewBox={`0 -1 ${STRETCHES} 2`}
        preserveAspectRatio="none"
        role="img"
        aria-label={
          wave ? `Waveform of ${what}, ${wave.seconds.toFixed(1)} s` : `Waveform of ${what}`
        }
      >
        {wave && <path d={shapeOf(wave.heights)} />}
      </svg>
      <audio controls preload="metadata" src={url} aria-label={what} />
    </div>
  );
}

async function waveOf(url: string): Promise<Wave> {
  const sound = await new OfflineAudioContext(1, 1, RATE).decodeAudioData(bytesOf(url));
  return { seconds: sound.duration, heights: peaks(sound.getChannelData(0), STRETCHES) };
}

/** A bar for each stretch, both ways from the middle; silence is a line. */
const shapeOf = (heights: readonly number[]): string =>
  heights
    .map((height, n) => {
      const h = Math.max(height, 0.02).toFixed(3);
      return `M${n + 0.5} -${h}V${h}`;
    })
    .join('');
