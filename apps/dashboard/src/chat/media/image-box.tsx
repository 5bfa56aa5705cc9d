import { api } from '../../api/api.js';
import { cosine, type Vector } from '../embeddings/geometry.js';
import { Bar } from '../shares.js';
import type { RawAnswer } from '../text/label-answer.js';
import { LabelView } from '../text/label-view.js';
import { CameraButton } from './camera-button.js';
import { MediaBox, type MediaKind } from './media-box.js';

const IMAGES: MediaKind = {
  medium: 'image',
  accept: 'image/jpeg,image/png,image/gif,image/webp',
  plural: 'images',
  one: 'an image',
  hint: 'JPEG, PNG, GIF or WebP of at most 25 MB',
};

const camera = (take: (file: File) => void, fail: (error: Error) => void) => (
  <CameraButton onTaken={take} onError={fail} />
);

/** Classifies images. */
export const ImageLabelBox = ({ models }: { models: readonly string[] }) => (
  <MediaBox<RawAnswer>
    kind={IMAGES}
    extraButton={camera}
    models={models}
    ask={async (model, file, onAnswer, signal) => {
      const [answer] = await api.classifyFile(model, file, signal);
      onAnswer(answer ?? {});
    }}
    show={(answer) => <LabelView answer={answer} />}
  />
);

/** Compares images by their embeddings with one of them. */
export const ImageSimilarityBox = ({ models }: { models: readonly string[] }) => (
  <MediaBox<Vector>
    kind={IMAGES}
    extraButton={camera}
    isCompared
    models={models}
    ask={async (model, file, onAnswer, signal) => {
      const [vector] = await api.embedFile(model, file, signal);
      onAnswer(vector ?? []);
    }}
    show={(vector, { reference }) => {
      const similarity = cosine(reference, vector);
      return (
        <>
          <p className="headline">
            <b className="numbers">{similarity.toFixed(3)}</b>
            <span className="faint">cosine similarity</span>
          </p>
          <Bar share={similarity} />
        </>
      );
    }}
  />
);
