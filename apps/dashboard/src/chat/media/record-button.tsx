import { Mic, Square } from 'lucide-react';
import { useEffect, useRef, useState } from 'react';
import { Button } from '../../ui/controls/button.js';
import { MAX_SECONDS, Recording } from './recording.js';

/** Interval of the level meter in milliseconds. */
const METER_MS = 100;

interface Props {
  readonly onRecorded: (file: File) => void;
  readonly onError: (error: Error) => void;
}

/** Records from the microphone until it is pressed again or the maximum length is reached. */
export function RecordButton({ onRecorded, onError }: Props) {
  const [recording, setRecording] = useState<Recording | null>(null);
  const [seconds, setSeconds] = useState(0);
  const [level, setLevel] = useState(0);
  const count = useRef(0);
  const isUnmounted = useRef(false);
  useEffect(() => {
    isUnmounted.current = false;
    return () => {
      isUnmounted.current = true;
    };
  }, []);
  useEffect(() => {
    if (!recording) return;
    const timer = setInterval(() => {
      setSeconds(recording.seconds);
      setLevel(recording.level);
    }, METER_MS);
    return () => clearInterval(timer);
  }, [recording]);
  // Leaving the page releases the microphone.
  const open = useRef<Recording | null>(null);
  open.current = recording;
  useEffect(() => () => open.current?.close(), []);
  const stop = (now: Recording) => {
    setRecording(null);
    void now.end(`recording-${++count.current}.wav`).then((file) => {
      if (now.seconds > 0 && !isUnmounted.current) onRecorded(file);
    });
  };
  const start = async () => {
    try {
      const started = await Recording.start();
      if (isUnmounted.current) return started.close();
      setSeconds(0);
      setRecording(started);
    } catch (error) {
      onError(readableError(error));
    }
  };
  useEffect(() => {
    if (recording && seconds >= MAX_SECONDS) stop(recording);
  });
  return recording ? (
    <>
      <Button aria-pressed="true" icon={<Square />} onClick={() => stop(recording)}>
        Stop recording ({Math.floor(seconds)} s)
      </Button>
      <span
        className="level"
        role="meter"
        aria-label="Level"
        aria-valuenow={Math.round(100 * level)}
      >
        {/* The square root shows quiet speech, too. */}
        <span style={{ width: `${100 * Math.sqrt(level)}%` }} />
      </span>
    </>
  ) : (
    <Button aria-pressed="false" icon={<Mic />} onClick={() => void start()}>
      Record
    </Button>
  );
}

function readableError(error: unknown): Error {
  const { name = '', message = String(error) } = error as Partial<Error>;
  if (name === 'NotAllowedError')
    return new Error('The browser blocked the microphone. Allow it for this page and try again.'); // prettier-ignore
  if (name === 'NotFoundError') return new Error('No microphone found.');
  return new Error(`The microphone cannot be used: ${message}`);
}
