import type { ErrorBody, TranscriptionEvent } from '@graft/contracts';
import { api } from '../../api/api.js';
import { ApiError } from '../../api/request.js';
import { readEvents } from '../../api/sse.js';
import { Media } from '../../media/media.js';
import type { RawAnswer } from '../text/label-answer.js';
import { LabelView } from '../text/label-view.js';
import { MediaBox, type Ask, type MediaKind } from './media-box.js';
import { RecordButton } from './record-button.js';
import { TranscriptView, type Transcript } from './transcript-view.js';

const AUDIO: MediaKind = {
  medium: 'audio',
  accept: 'audio/wav,audio/x-wav,audio/flac,audio/x-flac,.wav,.flac',
  plural: 'audio files',
  one: 'an audio file',
  hint: 'WAV or FLAC of at most 25 MB and ten minutes',
};

const record = (take: (file: File) => void, fail: (error: Error) => void) => (
  <RecordButton onRecorded={take} onError={fail} />
);

/** Classifies audio files. */
export const AudioLabelBox = ({ models }: { models: readonly string[] }) => (
  <MediaBox<RawAnswer>
    kind={AUDIO}
    extraButton={record}
    models={models}
    ask={async (model, file, onAnswer, signal) => {
      const [answer] = await api.classifyFile(model, file, signal);
      onAnswer(answer ?? {});
    }}
    show={(answer) => <LabelView answer={answer} />}
  />
);

/** Transcribes audio files and shows the text as it arrives. */
export const TranscriptBox = ({ models }: { models: readonly string[] }) => (
  <MediaBox<Transcript>
    kind={AUDIO}
    extraButton={record}
    models={models}
    ask={transcribe}
    draw={({ key, file }, media) => (
      <Media media={media} what={file.name} playerId={`audio-${key}`} />
    )}
    show={(transcript, { input, model }) => (
      <TranscriptView
        transcript={transcript}
        model={model}
        file={input.file}
        playerId={`audio-${input.key}`}
      />
    )}
  />
);

const transcribe: Ask<Transcript> = async (model, file, onAnswer, signal) => {
  let text = '';
  let failure: Error | null = null;
  let isWhole = false;
  await readEvents(await api.transcribe(model, file, signal), ({ data }) => {
    if (data === '[DONE]') return;
    const event = JSON.parse(data) as TranscriptionEvent | ErrorBody;
    if ('error' in event) {
      const { message, param, code } = event.error;
      failure = new ApiError(500, message, param, code);
      return;
    }
    isWhole = event.type === 'transcript.text.done';
    text = event.type === 'transcript.text.done' ? event.text : text + event.delta;
    onAnswer({ text, isWhole });
  });
  if (failure !== null) throw failure as Error;
  if (!isWhole) throw new Error('The connection was lost before the transcript was complete.');
};
